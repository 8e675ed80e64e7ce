"""What a copy tells OpenLineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from tradewind.operators.ends import CopyResult, Source, Target


def copy_lineage(source: Source, target: Target, result: CopyResult | None) -> OperatorLineage[Any, Any] | None:
    """Return the datasets of a copy with its output statistics, or None without the openlineage provider.

    :param source: the rendered source
    :param target: the rendered target
    :param result: what the copy did, None where it failed
    """
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import InputDataset, OutputDataset
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics
    except ImportError:
        return None
    facets: dict[str, Any] = {}
    if result is not None:
        facets["outputStatistics"] = statistics.OutputStatisticsOutputDatasetFacet(
            rowCount=result.rows if result.counted else None, size=result.bytes
        )
    read, written = source.openlineage_dataset(), target.openlineage_dataset()
    return OperatorLineage(
        inputs=[InputDataset(namespace=read[0], name=read[1])] if read else [],
        outputs=[OutputDataset(namespace=written[0], name=written[1], outputFacets=facets)] if written else [],
    )


def sql_lineage(hook: Any, sql: Any, database: str | None) -> OperatorLineage[Any, Any] | None:
    """Return the datasets that a SQL text reads and writes, or None without the openlineage provider.

    :param hook: a ``DbApiHook``
    :param sql: the rendered text, or a list of texts
    :param database: the database that the operator named
    """
    try:
        from airflow.providers.openlineage.sqlparser import SQLParser
    except ImportError:
        return None
    connection = hook.get_connection(hook.get_conn_id())
    parser = SQLParser(
        dialect=hook.get_openlineage_database_dialect(connection),
        default_schema=hook.get_openlineage_default_schema(),
    )
    lineage: OperatorLineage[Any, Any] = parser.generate_openlineage_metadata_from_sql(
        sql=sql if isinstance(sql, str) else list(sql),
        hook=hook,
        database_info=hook.get_openlineage_database_info(connection),
        database=database,
        sqlalchemy_engine=hook.get_sqlalchemy_engine(),
    )
    return lineage
