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
            rowCount=result.rows, size=result.bytes
        )
    read, written = source.openlineage_dataset(), target.openlineage_dataset()
    return OperatorLineage(
        inputs=[InputDataset(namespace=read[0], name=read[1])] if read else [],
        outputs=[OutputDataset(namespace=written[0], name=written[1], outputFacets=facets)] if written else [],
    )
