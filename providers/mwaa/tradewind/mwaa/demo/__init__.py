"""``tradewind demo``: a year of flights through S3, PostgreSQL and Airflow."""

from __future__ import annotations

from tradewind.mwaa.demo.command import add_parser

__all__ = ["add_parser"]
