"""The ends of a copy that the suite tries in pairs, each with each.

A new end is a class and an entry in ``ENDS``.
"""

from __future__ import annotations

from tests.conformance.end import End
from tests.conformance.files import S3Csv, S3Jsonl, S3Parquet
from tests.conformance.redshift import FetchedRedshift, Redshift
from tests.conformance.snowflake import Snowflake, StagedSnowflake
from tests.conformance.tables import MySql, Postgres

ENDS: dict[str, type[End]] = {end.kind: end for end in (S3Csv, S3Jsonl, S3Parquet, Postgres, MySql)}
WAREHOUSES: dict[str, type[End]] = {end.kind: end for end in (Redshift, Snowflake)}
"""Ends that need a stand-in for their service."""
ALL: dict[str, type[End]] = {**ENDS, **WAREHOUSES}
DIRECT = [("s3csv", StagedSnowflake.kind), ("s3parquet", StagedSnowflake.kind)]
"""Pairs of their own, where the target's service reads the source by itself."""
FETCHED = [(FetchedRedshift.kind, "s3csv"), (FetchedRedshift.kind, "s3parquet"), (FetchedRedshift.kind, "postgres")]
"""Pairs of their own, where a warehouse's rows pass by no bucket."""
KINDS: dict[str, type[End]] = {
    **ALL,
    StagedSnowflake.kind: StagedSnowflake,
    FetchedRedshift.kind: FetchedRedshift,
}
