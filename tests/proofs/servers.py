"""The servers of the kill matrix: they can be restarted in the middle, and the way to S3 can be cut."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.fix_mysql import MySqlServer
from tests.fix_proxy import Faults, Proxy, behind
from tests.redshift.on_stage import open_redshift
from tests.snowflake.server import PASSWORD, SnowflakeServer
from tests.stage import BUCKET, MART, WAREHOUSE, Stage
from tradewind.local.postgres import PostgresServer
from tradewind.local.processes import free_port

# What a server has told its client is on disk survives a crash of the server.
MYSQL = {"innodb-flush-log-at-trx-commit": "2", "innodb-doublewrite": "1"}


@dataclass(frozen=True)
class Servers:
    """What runs.

    :param stage: the servers as an onlooker sees them
    :param through: the servers as the tries see them: S3 lies behind a proxy
    :param proxy: that proxy
    """

    stage: Stage
    through: Stage
    proxy: Proxy
    postgres: PostgresServer
    mysql: MySqlServer

    def restart(self, kind: str) -> None:
        """Crash a database's server, and start it again.

        :param kind: ``postgres`` or ``mysql``
        """
        if kind == "mysql":
            self.mysql.stop(signal.SIGKILL)
            self.mysql.start()
            return
        assert self.postgres.pid
        os.kill(self.postgres.pid, signal.SIGQUIT)
        while self.postgres.pid is not None:
            time.sleep(0.01)
        self.postgres.stop()
        self.postgres.start()


@contextmanager
def open_servers(folder: Path, warehouses: Collection[str] = ()) -> Iterator[Servers]:
    """Start the servers, which end with this process.

    :param folder: where their state goes
    :param warehouses: the stand-ins to start besides: ``redshift``, ``snowflake``
    """
    from tradewind.local.s3 import S3Server

    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer(folder / "postgres", free_port(), databases=(WAREHOUSE,)))
        (folder / "mysql").mkdir(parents=True)
        mysql = stack.enter_context(MySqlServer(folder / "mysql", MYSQL))
        s3 = stack.enter_context(S3Server(folder / "s3"))
        proxy = stack.enter_context(Proxy(behind(s3.endpoint_url), Faults(), 0))
        address = mysql.address
        address.query(f"CREATE DATABASE {MART} CHARACTER SET utf8mb4")
        dsn = f"mysql://{address.user}:{address.password}@{address.host}:{address.port}/{MART}"
        stage = Stage(postgres.dsn(WAREHOUSE), s3.endpoint_url, mysql=dsn)
        stage.client().create_bucket(Bucket=BUCKET)
        if "redshift" in warehouses:
            stage = stack.enter_context(open_redshift(folder, stage))
        if "snowflake" in warehouses:
            users = {"ETL": {"password": PASSWORD}, "OTHER": {"password": PASSWORD}}
            server = stack.enter_context(SnowflakeServer(s3.endpoint_url, users, folder / "snowflake.log"))
            database = f"PROOFS_{secrets.token_hex(4).upper()}"
            stage = replace(stage, snowflake=server, snowflake_database=database)
        yield Servers(stage, replace(stage, endpoint=proxy.url), proxy, postgres, mysql)
