"""The environment of containers, started for a proof: DAGs, workers that follow the load, and ways to look into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.fix_up import Up
from tests.stack.fix_stack import sqs, stack_arguments
from tradewind.local.api import Api, ApiError
from tradewind.local.stack import compose
from tradewind.local.stack.channel import Channel
from tradewind.local.stack.engine import project_name
from tradewind.local.stack.services import BROKERS
from tradewind.local.state import State
from tradewind.local.versions import VERSIONS


def patiently(call: Callable[[], Any]) -> Any:
    """Call until the web server answers: on a busy machine it may take longer than a call waits."""
    for _ in range(9):
        try:
            return call()
        except OSError:
            time.sleep(1)
    return call()


class Environment:
    """One environment of 1 to some workers; it ends with this object.

    :param folder: where its project goes
    :param airflow: the Airflow version
    :param files: what lies in dags/, text by name
    :param most: workers at most
    :param more: further arguments of ``tradewind up``
    :param broker: what tasks come by, redis or sqs
    """

    def __init__(
        self, folder: Path, airflow: str, files: Mapping[str, str], most: int, *more: str, broker: str = BROKERS[0]
    ) -> None:
        (folder / "project" / "dags").mkdir(parents=True)
        for name, text in files.items():
            (folder / "project" / "dags" / name).write_text(text)
        size = ("--min-workers", "1", "--max-workers", str(most), "--broker", broker)
        self.state = State(folder / "project" / ".tradewind")
        self.project = project_name(self.state)
        self.version = VERSIONS[airflow]
        self.most = most
        self.broker = broker
        self.up = Up(folder / "project", *stack_arguments(airflow), *size, *more)
        self.channel = Channel(self.project)
        try:
            self.facts = self.up.ready(600)
            login = self.facts["user"], self.facts["password"]
            self.api = Api(self.facts["web"], self.version.major, *login, timeout=60)
            self.prepare()
        except BaseException:
            self.close()
            raise

    def prepare(self) -> None:
        """Do what has to be done once it is ready."""

    def close(self) -> None:
        """End it."""
        self.channel.close()
        if self.up.process.poll() is None:
            self.up.process.terminate()
            self.up.process.wait(180)

    @property
    def talk(self) -> str:
        """What the command said."""
        return self.up.talk.read_text()

    @property
    def draining(self) -> list[str]:
        """The workers that are about to go."""
        found = self.state.running() or {}
        return list(found.get("draining", []))

    def found(self, service: str) -> list[compose.Found]:
        """Return the containers of a service that run."""
        return [each for each in compose.containers(self.project) if each.service == service and each.running]

    def workers(self) -> int:
        """Return how many worker containers there are."""
        return len(self.found("worker"))

    def queued(self) -> int:
        """Return how many messages wait for a worker."""
        if self.broker == "sqs":
            queues = sqs(self.facts["s3"])
            (url,) = queues.list_queues()["QueueUrls"]
            name = "ApproximateNumberOfMessages"
            return int(queues.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])
        (broker,) = self.found("broker")
        ask = "REDISCLI_AUTH=$(cat /run/secrets/broker) redis-cli llen default"
        return int(compose.docker("exec", broker.id, "sh", "-c", ask))

    def begin(self, dag_id: str, run_id: str, conf: Mapping[str, Any] | None = None) -> None:
        """Start a run of a DAG."""

        def begin() -> bool:
            try:
                self.api.trigger(dag_id, conf, run_id)
            except ApiError as error:  # the answer to an earlier call was lost, its work was not
                return error.status == 409
            return True

        patiently(begin)

    def query(self, statement: str, *values: Any, dsn: str | None = None) -> list[tuple[Any, ...]]:
        """Run a statement in the warehouse, or in another database.

        :param dsn: its address
        """
        import psycopg2

        with (
            closing(psycopg2.connect(dsn or self.facts["warehouse"], connect_timeout=10)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []
