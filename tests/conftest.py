"""The fixtures of all tests, one module for each topic."""

# fix_airflow comes first: it prepares the environment that airflow reads when it is imported.
pytest_plugins = [
    "tests.fix_airflow",
    "tests.amazon.fix_connections",
    "tests.operators.fix_trees",
    "tests.fix_postgres",
    "tests.fix_mysql",
    "tests.fix_snowflake",
    "tests.fix_tables",
    "tests.copy.fix_people",
    "tests.fix_proxy",
    "tests.fix_stage",
    "tests.fix_s3",
    "tests.redshift.fix_standin",
    "tests.fix_up",
    "tests.stack.fix_stack",
    "tests.stack.fix_every",
    "tests.stack.sampling",
    "tests.sharing",
]
