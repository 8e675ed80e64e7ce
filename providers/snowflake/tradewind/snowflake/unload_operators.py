"""The operator that lets the warehouse write a set of objects to S3 by itself."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tradewind.hooks.compat import BaseOperator, Context
from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.work import Work
from tradewind.snowflake.exporting import Format, Layout
from tradewind.snowflake.queries import SnowflakeQuery
from tradewind.snowflake.stages import ExternalStage
from tradewind.snowflake.tables import SnowflakeTable

if TYPE_CHECKING:
    from jinja2 import Environment

    from tradewind.operators.files.ends import FileEnd
    from tradewind.snowflake.hooks import SnowflakeHook
    from tradewind.snowflake.session import Parameters, SnowflakeSession


class SnowflakeUnloadOperator(BaseOperator):
    """Unload a table or a query into objects of S3, written by the warehouse: Parquet or CSV, partitioned or not.

    Each try writes into a folder of its own beside the manifest, which names the objects of the last whole set and is
    replaced at once when the rows are counted. A retry after success unloads nothing again. ``to`` is the source of
    another copy, too. The result is the task's XCom: ``manifest``, ``folder``, ``rows``, ``bytes``, ``file_count`` and
    the first hundred ``files``.

    :param source: ``SnowflakeTable(...)`` or ``SnowflakeQuery(...)``
    :param to: the set, by its manifest, as ``S3File("s3://lake/daily/_manifest.json", manifest=True)``
    :param stage: an external stage that leads there, or a URL, as ``s3://lake/``
    :param storage_integration: the integration by which the service reaches the URL, or the set's folder
    :param format: parquet or csv
    :param partition_by: columns whose values become folders, as ``day=2026-01-01/``; they stay in the objects
    :param header: of CSV, whether each object begins with the columns' names
    :param delimiter: of CSV
    :param null: of CSV, what stands for NULL
    :param compression: of CSV: gzip, zstd, bz2 or None
    :param max_file_mb: how large an object may get, in MiB
    :param parallel: whether several objects are written at once; else it is one, whose rows keep the query's order
    """

    template_fields: Sequence[str] = ("source", "to", "stage", "storage_integration", "partition_by")
    ui_color = "#29b5e8"

    def __init__(
        self,
        *,
        source: SnowflakeTable | SnowflakeQuery,
        to: FileEnd,
        stage: str | None = None,
        storage_integration: str | None = None,
        format: Format = "parquet",
        partition_by: str | Sequence[str] = (),
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
        self.stage = stage
        self.storage_integration = storage_integration
        self.format = format
        self.partition_by = partition_by
        self.header = header
        self.delimiter = delimiter
        self.null = null
        self.compression = compression
        self.max_file_mb = max_file_mb
        self.parallel = parallel
        self._hook: SnowflakeHook | None = None
        self._check()
        self.source, self.to = copy.copy(source), copy.copy(to)

    def render_template_fields(self, context: Context, jinja_env: Environment | None = None) -> None:
        """Render this task's own ends, not those of the DAG file."""
        self.source, self.to = copy.copy(self.source), copy.copy(self.to)
        super().render_template_fields(context, jinja_env)

    def execute(self, context: Context) -> dict[str, Any]:
        """Unload, count, and make the set visible."""
        from tradewind.operators.files.datasets import ServiceSet, told
        from tradewind.snowflake.hooks import SnowflakeHook

        self._check()  # of rendered templates
        work, layout = Work.from_context(context), self._layout()
        manifest = self.to.parse_url(self.to.urls()[0])
        self._hook = SnowflakeHook(self.source.conn_id)
        with self._hook.session(work, autocommit=True) as session:
            query, parameters = self._query(session)
            fingerprint = json.dumps([query, parameters, repr(layout), manifest], default=str)
            dataset = ServiceSet(self.to.storage(), manifest, work.token(f"unload {fingerprint}"), work.try_number)
            done = dataset.done()
            if done is not None:
                result = told(done, manifest)
                self.log.info("nothing to do: an earlier try has unloaded %s rows", f"{result['rows']:,}")
                return result
            try:
                result = told(self._unload(session, query, parameters, layout, dataset), manifest)
            except BaseException:
                dataset.abandon()
                raise
        self.log.info("%s: %s rows in %s objects", manifest, f"{result['rows']:,}", f"{result['file_count']:,}")
        return result

    def _unload(
        self, session: SnowflakeSession, query: str, parameters: Parameters, layout: Layout, dataset: Any
    ) -> Any:
        from tradewind.snowflake.catalog import full_name
        from tradewind.snowflake.exporting import SETTINGS, exported, written
        from tradewind.snowflake.names import TableName
        from tradewind.snowflake.unloading import result_columns

        session.execute(SETTINGS)
        names, types = result_columns(session, self.source.describe(), query, parameters)
        sql = exported(query, names, types, layout)
        beside = full_name(session, TableName("TRADEWIND"))
        stage = ExternalStage(self.stage, self.storage_integration).find(session, beside, [dataset.own.url])
        if stage.ddl is not None:
            session.execute(stage.ddl)
        statement = layout.statement(sql, stage, dataset.own.url, "%%" if parameters else "%")
        return dataset.finish(written(session.query(statement, parameters)), names, layout.how())

    def _query(self, session: SnowflakeSession) -> tuple[str, Parameters]:
        from tradewind.snowflake.catalog import existing_table, full_name
        from tradewind.snowflake.names import TableName
        from tradewind.snowflake.unloading import clean_query

        if isinstance(self.source, SnowflakeQuery):
            return clean_query(self.source.sql), self.source.parameters
        table = existing_table(session, full_name(session, TableName.parse(self.source.table)))
        return f"SELECT * FROM {table.name.sql}", None  # noqa: S608 (parsed and quoted)

    def on_kill(self) -> None:
        """Stop the COPY INTO in the warehouse."""
        self.log.info("killed: stopping the unload of %s", self.source.describe())
        if self._hook is not None:
            self._hook.cancel()

    def _layout(self) -> Layout:
        by = (self.partition_by,) if isinstance(self.partition_by, str) else tuple(self.partition_by)
        return Layout(
            self.format, by, self.header, self.delimiter, self.null, self.compression, self.max_file_mb, self.parallel
        )

    def _check(self) -> None:
        from tradewind.operators.files.ends import FileEnd  # whoever declares one has it already

        if not isinstance(self.source, SnowflakeTable | SnowflakeQuery):
            raise InvalidArgument(f"source must be SnowflakeTable(...) or SnowflakeQuery(...), not {self.source!r}")
        if self.source.projects:
            raise InvalidArgument("columns= and constants= are for a copy: write them into the query")
        self.source.check()
        self.source.check_source()
        if not isinstance(self.to, FileEnd) or not all(url.startswith(("s3://", "{{")) for url in self.to.urls()):
            raise InvalidArgument(
                f'to must be a set in S3, by its manifest, as S3File("s3://lake/daily/_manifest.json", manifest=True), '
                f"not {self.to!r}"
            )
        if len(self.to.urls()) != 1:
            raise InvalidArgument(f"to must be one manifest, not {len(self.to.urls())}")
        self.to.check()
        external = ExternalStage(self.stage, self.storage_integration)
        if not external:
            raise InvalidArgument("say how Snowflake reaches S3: by stage=, by storage_integration=, or by both")
        external.check()
        self._layout().check()
