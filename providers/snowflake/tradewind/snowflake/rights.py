"""Which rights a load needs.

Whether a role has them, through the roles that it holds, the service tells only to the work itself.
"""

from __future__ import annotations

from tradewind.operators.ends import CopyRequest, Mode
from tradewind.operators.plan import Right
from tradewind.snowflake.names import TableName
from tradewind.snowflake.stages import ExternalStage

_NEEDED: dict[Mode, tuple[str, ...]] = {
    "append": ("INSERT",),
    "replace": ("INSERT", "DELETE"),
    "merge": ("SELECT", "INSERT", "UPDATE"),
}


def load_rights(name: TableName, request: CopyRequest, external: ExternalStage, *, is_new: bool) -> list[Right]:
    """Return the rights that a load needs, beside those to the ledger.

    :param name: the table, with its schema and database
    :param request: what is to be done
    :param external: how the service reaches S3 by itself
    :param is_new: whether the load makes the table
    """
    schema = f"schema {name.database}.{name.schema}"
    needed = list(_NEEDED[request.mode])
    if any(expectation.needs_table for expectation in request.expect) and "SELECT" not in needed:
        needed.append("SELECT")
    found = [Right("CREATE TABLE", schema)] if is_new else [Right(what, str(name)) for what in needed]
    if external.storage_integration:
        found.append(Right("USAGE", f"integration {external.storage_integration}"))
    if external.stage:
        found.append(Right("USAGE", f"stage {external.stage}"))
    if external:
        found.append(Right("CREATE FILE FORMAT", schema))
    return [*found, Right("CREATE STAGE", schema), Right("USAGE", "the session's warehouse")]
