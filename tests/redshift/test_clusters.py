"""Clusters of moto's Redshift: waited for, paused, resumed; what cannot come fails at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.fix_s3 import AWS
from tradewind.amazon.redshift.operators import RedshiftPauseClusterOperator, RedshiftResumeClusterOperator
from tradewind.amazon.redshift.sensors import RedshiftClusterSensor
from tradewind.amazon.redshift.triggers import RedshiftClusterTrigger
from tradewind.hooks.compat import AirflowSensorTimeout, TaskDeferred
from tradewind.hooks.errors import InvalidArgument, NotFound, PermanentError

# Of moto's server, which runs here: Airflow 3.0 pins a werkzeug that Python 3.12 warns of.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MakeContext = Callable[..., Any]
REGION, ACCOUNT = "eu-west-1", "123456789012"


class Clusters:
    """One cluster, ``sales``, whose state a test may set, and the calls that changed it."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.asked: list[str] = []
        self.timers: list[threading.Timer] = []

    @property
    def status(self) -> str:
        return str(self.backend.clusters["sales"].status)

    @status.setter
    def status(self, status: str) -> None:
        self.backend.clusters["sales"].status = status

    def later(self, status: str, seconds: float = 0.5) -> None:
        self.timers.append(threading.Timer(seconds, setattr, (self, "status", status)))
        self.timers[-1].start()


@pytest.fixture
def clusters(connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Clusters]:
    """Start moto's server with a cluster that is available."""
    from moto.redshift.models import redshift_backends
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    connection("aws_default", {**AWS, "extra": {"endpoint_url": f"http://{host}:{port}", "region_name": REGION}})
    backend = redshift_backends[ACCOUNT][REGION]
    backend.create_cluster(
        cluster_identifier="sales",
        node_type="ra3.large",
        master_username="u",
        master_user_password="Passw0rd1",
        db_name="dev",
        cluster_type="multi-node",
        cluster_security_groups=[],
        vpc_security_group_ids=[],
        cluster_subnet_group_name=None,
        availability_zone=None,
        preferred_maintenance_window=None,
        cluster_parameter_group_name=None,
        automated_snapshot_retention_period=None,
        port=None,
        cluster_version=None,
        allow_version_upgrade="true",
        number_of_nodes=2,
        publicly_accessible="false",
        encrypted="false",
        region_name=REGION,
    )
    made = Clusters(backend)
    made.status = "available"
    for change in ("pause", "resume"):
        monkeypatch.setattr(backend, f"{change}_cluster", counted(made, change))
    yield made
    for timer in made.timers:
        timer.join()  # it would look for a cluster that is no more
    server.stop()
    backend.reset()


def counted(clusters: Clusters, change: str) -> Callable[[str], Any]:
    def call(cluster_id: str) -> Any:
        clusters.asked.append(change)
        clusters.status = f"{change[:-1]}ing"
        clusters.later("paused" if change == "pause" else "available")
        return clusters.backend.clusters[cluster_id]

    return call


def test_the_sensor_waits_for_a_state(clusters: Clusters, context: MakeContext) -> None:
    clusters.status = "resuming"
    clusters.later("available")
    sensor = RedshiftClusterSensor(task_id="wait", cluster_identifier="sales", poke_interval=0.2, timeout=30)

    assert sensor.execute(context(sensor)) == "available"


def test_a_deferred_sensor_ends_with_the_state(clusters: Clusters, context: MakeContext) -> None:
    clusters.status = "resuming"
    sensor = RedshiftClusterSensor(
        task_id="wait", cluster_identifier="sales", poke_interval=0.2, timeout=30, deferrable=True
    )
    with pytest.raises(TaskDeferred) as handed:
        sensor.execute(context(sensor))
    clusters.later("available")
    trigger = RedshiftClusterTrigger(**handed.value.trigger.serialize()[1])

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        return None

    event = asyncio.run(first())
    assert (event["state"], event["found"]) == ("done", "available")


@pytest.mark.parametrize("status", ["deleting", "hardware-failure", "incompatible-network"])
def test_what_will_not_come_fails_at_once(clusters: Clusters, context: MakeContext, status: str) -> None:
    clusters.status = status
    sensor = RedshiftClusterSensor(task_id="wait", cluster_identifier="sales", timeout=30)
    with pytest.raises(PermanentError, match=f"cluster sales is {status}: it will not be available"):
        sensor.execute(context(sensor))
    resume = RedshiftResumeClusterOperator(task_id="resume", cluster_identifier="sales")
    with pytest.raises(PermanentError, match="it will not be available"):
        resume.execute(context(resume))
    assert clusters.asked == []


def test_a_cluster_that_is_not_there_is_named(clusters: Clusters, context: MakeContext) -> None:
    sensor = RedshiftClusterSensor(task_id="wait", cluster_identifier="salse", timeout=30)
    with pytest.raises(NotFound, match="salse"):
        sensor.execute(context(sensor))


def test_pause_and_resume_ask_once_and_wait(clusters: Clusters, context: MakeContext) -> None:
    for kind, status in ((RedshiftPauseClusterOperator, "paused"), (RedshiftResumeClusterOperator, "available")):
        for wait in (False, True, True):  # as a retry would
            task = kind(task_id="change", cluster_identifier="sales", wait_for_completion=wait, poll_interval=0.2)
            assert task.execute(context(task)) == (status if wait else None)
    assert clusters.asked == ["pause", "resume"]


def test_a_wait_has_an_end(clusters: Clusters, context: MakeContext) -> None:
    clusters.status = "pausing"
    task = RedshiftPauseClusterOperator(
        task_id="pause", cluster_identifier="sales", wait_for_completion=True, poll_interval=0.1, max_attempts=3
    )
    assert timedelta(seconds=task.timeout) < timedelta(seconds=1)
    began = time.monotonic()
    with pytest.raises(AirflowSensorTimeout):
        task.execute(context(task))
    assert time.monotonic() - began < 20


def test_arguments_that_cannot_work_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="max_attempts must be at least 1"):
        RedshiftPauseClusterOperator(task_id="pause", cluster_identifier="sales", max_attempts=0)
    with pytest.raises(InvalidArgument, match="poke_interval must be above 0"):
        RedshiftResumeClusterOperator(task_id="resume", cluster_identifier="sales", poll_interval=0)
