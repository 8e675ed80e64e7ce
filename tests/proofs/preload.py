"""What the fork server of the proofs imports once, for every process that it forks."""

import importlib
from contextlib import suppress

from tests import fix_airflow  # noqa: F401 (first: it gives Airflow a home)
from tests.proofs import job  # noqa: F401

WANTED = (
    "boto3",
    "psycopg2",
    "pymysql",
    "tests.proofs.ends",
    "snowflake.connector",
    "tests.proofs.submit",
    "tradewind.amazon.redshift.loading",
    "tradewind.amazon.redshift.merging",
    "tradewind.amazon.redshift.operators",
    "tradewind.amazon.redshift.tables",
    "tradewind.amazon.redshift.triggers",
    "tradewind.amazon.redshift.unloading",
    "tradewind.amazon.s3.files",
    "tradewind.hooks.compat",
    "tradewind.operators.copy",
    "tradewind.mysql.hooks",
    "tradewind.mysql.loading",
    "tradewind.mysql.unloading",
    "tradewind.snowflake.hooks",
    "tradewind.snowflake.loading",
    "tradewind.snowflake.operators",
    "tradewind.snowflake.tables",
    "tradewind.snowflake.triggers",
    "tradewind.snowflake.unloading",
    "tradewind.postgres.hooks",
    "tradewind.postgres.loading",
    "tradewind.postgres.tables",
    "tradewind.postgres.unloading",
    # In the benchmarks' environment alone:
    "airflow.providers.amazon.aws.transfers.s3_to_sql",
    "airflow.providers.amazon.aws.transfers.sql_to_s3",
    "airflow.providers.postgres.hooks.postgres",
)

for name in WANTED:
    with suppress(ImportError):
        importlib.import_module(name)
