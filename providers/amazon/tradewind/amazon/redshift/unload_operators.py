"""The operator that lets the warehouse write a set of objects to S3 by itself."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tradewind.amazon.redshift.datasets import Dataset, Format, Layout
from tradewind.amazon.redshift.quoting import check_staging
from tradewind.amazon.redshift.tables import RedshiftQuery, RedshiftTable
from tradewind.hooks.compat import BaseOperator, Context
from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.work import Work

if TYPE_CHECKING:
    from jinja2 import Environment


class RedshiftUnloadOperator(BaseOperator):
    """Unload a table or a query into objects of S3, written by the warehouse: Parquet, CSV or JSON, partitioned or not.

    Each try writes into a folder of its own under ``to``; ``_manifest.json`` there names the objects of the last whole
    set, and is replaced at once when the rows are counted. A retry after success unloads nothing again. The result is
    the task's XCom: ``manifest``, ``folder``, ``rows``, ``bytes``, ``file_count`` and the first hundred ``files``.

    :param source: ``RedshiftTable(...)`` or ``RedshiftQuery(...)``; its ``iam_role`` writes
    :param to: the folder, as ``s3://bucket/daily/``
    :param format: parquet, csv or json
    :param partition_by: columns whose values become folders, as ``day=2026-01-01/``
    :param include_partitions: whether these columns stay in the objects too
    :param header: of CSV, whether each object begins with the columns' names
    :param delimiter: of CSV
    :param null: of CSV, what stands for NULL
    :param compression: of CSV and JSON: gzip, zstd, bz2 or None
    :param max_file_mb: how large an object may get, in MB
    :param parallel: whether all slices of the warehouse write at once; else the rows keep the query's order
    """

    template_fields: Sequence[str] = ("source", "to", "partition_by")
    ui_color = "#eeaa11"

    def __init__(
        self,
        *,
        source: RedshiftTable | RedshiftQuery,
        to: str,
        format: Format = "parquet",
        partition_by: str | Sequence[str] = (),
        include_partitions: bool = False,
        header: bool = True,
        delimiter: str = ",",
        null: str = "",
        compression: str | None = None,
        max_file_mb: float | None = None,
        parallel: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.to = to
        self.format = format
        self.partition_by = partition_by
        self.include_partitions = include_partitions
        self.header = header
        self.delimiter = delimiter
        self.null = null
        self.compression = compression
        self.max_file_mb = max_file_mb
        self.parallel = parallel
        self._check()
        self.source = copy.copy(source)

    def render_template_fields(self, context: Context, jinja_env: Environment | None = None) -> None:
        """Render this task's own source, not that of the DAG file."""
        self.source = copy.copy(self.source)
        super().render_template_fields(context, jinja_env)

    def execute(self, context: Context) -> dict[str, Any]:
        """Unload, count, and make the set visible."""
        from tradewind.amazon.redshift.unloading import readable, unload_statement
        from tradewind.amazon.s3.hooks import S3Hook

        self._check()  # of rendered templates
        work, source, layout = Work.from_context(context), self.source, self._layout()
        hook = S3Hook(source.aws_conn_id, region_name=source.region_name)
        with source.session(work) as session:
            query = source.query(session)
            token = work.token(f"unload {query} {layout.options()} {self.to}")
            dataset = Dataset(hook, self.to, token, work.try_number)
            done = dataset.done()
            if done is not None:
                self.log.info("nothing to do: an earlier try has unloaded %s rows", f"{done['rows']:,}")
                return done
            sql = readable(query, session.columns(query))
            region = source.staging_region or ""
            try:
                session.execute("SET timezone TO 'UTC'")
                session.execute(unload_statement(sql, dataset.own, source.iam_role, layout.options(), region))
                rows = int(session.query("SELECT pg_last_unload_count()")[0][0])
                result = dataset.finish(rows)
            except BaseException:
                dataset.abandon()
                raise
        self.log.info("%s: %s rows in %s objects", self.to, f"{rows:,}", f"{result['file_count']:,}")
        return result

    def on_kill(self) -> None:
        """Stop the UNLOAD in the warehouse."""
        self.log.info("killed: stopping the UNLOAD of %s", self.source.describe())
        self.source.cancel()

    def _layout(self) -> Layout:
        by = (self.partition_by,) if isinstance(self.partition_by, str) else tuple(self.partition_by)
        return Layout(
            self.format,
            by,
            self.include_partitions,
            self.header,
            self.delimiter,
            self.null,
            self.compression,
            self.max_file_mb,
            self.parallel,
        )

    def _check(self) -> None:
        if not isinstance(self.source, RedshiftTable | RedshiftQuery):
            raise InvalidArgument(f"source must be RedshiftTable(...) or RedshiftQuery(...), not {self.source!r}")
        if self.source.projects:
            raise InvalidArgument("columns= and constants= are for a copy: write them into the query")
        self.source.check()
        try:
            check_staging(self.to)
        except InvalidArgument as error:
            raise InvalidArgument(str(error).replace("staging", "to", 1)) from None
        self._layout().check()
