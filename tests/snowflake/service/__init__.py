"""A Snowflake that executes what it is given, on fakesnow: run by a Python environment of its own."""
