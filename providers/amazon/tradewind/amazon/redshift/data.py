"""Statements that run through the Redshift Data API, without a connection.

Source: the Amazon Redshift Data API Reference, and "Considerations when calling the Amazon Redshift Data API" of the
Management Guide: a statement may have 100 kB, a client token is remembered for 8 hours, a statement and its result are
kept for 24 hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from tradewind.amazon.errors import error_code
from tradewind.amazon.hooks import AwsHook
from tradewind.amazon.redshift.values import Parameters, decoder, field_text, parameter_list
from tradewind.hooks.errors import InvalidArgument, PermanentError
from tradewind.operators.jobs.job import Job, Jobs, State

LONGEST_STATEMENT = 100_000
"""Bytes that a statement may have."""

_STATES: dict[str, State] = {
    "SUBMITTED": "waiting",
    "PICKED": "waiting",
    "STARTED": "running",
    "FINISHED": "succeeded",
    "FAILED": "failed",
    "ABORTED": "cancelled",
}


@dataclass(frozen=True)
class Warehouse:
    """Where statements run, and as whom.

    :param cluster_identifier: a provisioned cluster, or
    :param workgroup_name: a serverless workgroup, its name or ARN, or
    :param session_id: a session that an earlier statement has kept alive
    :param database: the database
    :param db_user: the database's user, of temporary credentials for a cluster
    :param secret_arn: the secret in Secrets Manager that holds user and password, instead of temporary credentials
    """

    cluster_identifier: str | None = None
    workgroup_name: str | None = None
    session_id: str | None = None
    database: str | None = None
    db_user: str | None = None
    secret_arn: str | None = None

    def check(self) -> None:
        """Refuse what names no warehouse, or several.

        :raises InvalidArgument: with what to give instead
        """
        places = [name for name in ("cluster_identifier", "workgroup_name", "session_id") if getattr(self, name)]
        if len(places) != 1:
            raise InvalidArgument(
                "give one of cluster_identifier, workgroup_name and session_id, not "
                + (" and ".join(places) if places else "none of them")
            )
        if places != ["session_id"] and not self.database:
            raise InvalidArgument(f"database is missing: {places[0]} alone does not say where the SQL runs")
        if self.db_user and self.secret_arn:
            raise InvalidArgument("give db_user or secret_arn, not both: the secret names its user")

    def arguments(self) -> dict[str, str]:
        """Return the service's own arguments."""
        names = {name: "".join(part.capitalize() for part in name.split("_")) for name in asdict(self)}
        return {names[name]: value for name, value in asdict(self).items() if value}

    def place(self) -> dict[str, str]:
        """Return the arguments that say whose statements are listed."""
        wanted = ("ClusterIdentifier", "WorkgroupName", "Database")
        return {name: value for name, value in self.arguments().items() if name in wanted}


class RedshiftDataHook(AwsHook, Jobs):
    """Run statements through the Redshift Data API.

    :param arguments: see :class:`~tradewind.amazon.hooks.AwsHook`
    """

    service: ClassVar[str] = "redshift-data"
    hook_name = "Amazon Redshift Data API"
    warehouse = Warehouse()

    def at(self, warehouse: Warehouse) -> RedshiftDataHook:
        """Return this hook, bound to a warehouse, whose statements it lists.

        :raises InvalidArgument: where that names none
        """
        warehouse.check()
        self.warehouse = warehouse
        return self

    def execute(
        self,
        statements: Sequence[str],
        parameters: Parameters | None = None,
        *,
        name: str | None = None,
        token: str | None = None,
        with_event: bool = False,
        session_keep_alive_seconds: int | None = None,
    ) -> Mapping[str, Any]:
        """Submit statements: one alone, or several as one transaction.

        :param statements: SQL, each text one statement
        :param parameters: values for ``:name`` in them
        :param name: what to call them in the service
        :param token: the idempotency token: the same one again within 8 hours submits nothing
        :param with_event: whether EventBridge is told of the end
        :param session_keep_alive_seconds: how long the session stays for later statements
        :return: the service's answer, with ``Id`` and perhaps ``SessionId``
        :raises InvalidArgument: for what the service cannot take
        """
        for number, text in enumerate(statements, 1):
            if (size := len(text.encode())) > LONGEST_STATEMENT:
                raise InvalidArgument(
                    f"statement {number} has {size:,} bytes, the Data API takes {LONGEST_STATEMENT:,}:"
                    " split it, or use RedshiftSQLOperator"
                )
        given: dict[str, Any] = {
            "Parameters": parameter_list(parameters) or None,
            "StatementName": name,
            "ClientToken": token,
            "WithEvent": with_event or None,
            "SessionKeepAliveSeconds": session_keep_alive_seconds,
        }
        arguments = self.warehouse.arguments() | {key: value for key, value in given.items() if value is not None}
        with self.errors("submitting SQL"):
            if len(statements) == 1:
                answer: Mapping[str, Any] = self.client().execute_statement(Sql=statements[0], **arguments)
            else:
                answer = self.client().batch_execute_statement(Sqls=list(statements), **arguments)
        return answer

    def describe_statement(self, id: str) -> Mapping[str, Any]:
        """Return what the service tells of a statement.

        :raises NotFound: where it knows it no more
        """
        with self.errors(f"statement {id}"):
            found: Mapping[str, Any] = self.client().describe_statement(Id=id)
        return found

    def named(self, prefix: str) -> list[Job]:
        """Return the statements whose name begins like this, in any state, of the last 24 hours."""
        with self.errors("listing statements"):
            client = self.client()
            # Names are enough; only the sessions of IAM Identity Center must say where. The botocore of 2.10 cannot.
            known = client.meta.service_model.operation_model("ListStatements").input_shape.members
            place = {name: value for name, value in self.warehouse.place().items() if name in known}
            listing = client.get_paginator("list_statements")
            pages = listing.paginate(StatementName=prefix, Status="ALL", RoleLevel=True, **place)
            found = [statement for page in pages for statement in page["Statements"]]
        return [_job(statement) for statement in found]

    def look(self, id: str) -> Job:
        """Return how far a statement is."""
        return _job(self.describe_statement(id))

    def cancel(self, id: str) -> None:
        """Stop a statement; one that has ended is left as it is."""
        from botocore.exceptions import ClientError

        with self.errors(f"cancelling statement {id}"):
            try:
                self.client().cancel_statement(Id=id)
            except ClientError as error:
                if error_code(error) != "ValidationException" or not self.look(id).ended:
                    raise

    def describe(self, job: Job) -> str:
        """Name a statement in a message."""
        return f"statement {job.id}"

    def statement_ids(self, id: str) -> list[str]:
        """Return the ids that have results: those of a batch's statements, or the statement's own."""
        parts = self.describe_statement(id).get("SubStatements") or []
        return [part["Id"] for part in parts] or [id]

    def rows(self, id: str, limit: int | None = None) -> list[list[Any]] | None:
        """Fetch the whole result of a statement, page by page.

        :param id: the statement, or one of a batch
        :param limit: how many rows there may be
        :return: rows of values, see :func:`~tradewind.amazon.redshift.values.decoder`; None where it has no result
        :raises InvalidArgument: where there are more
        """
        found = self.describe_statement(id)
        if not found.get("HasResultSet"):
            return None
        total = found.get("ResultRows") or 0
        if limit is not None and total > limit:
            raise InvalidArgument(
                f"the result has {total:,} rows, more than max_rows={limit:,}, too many for an XCom:"
                " aggregate, or UNLOAD them"
            )
        return list(self.fetch(id))

    def fetch(self, id: str) -> Iterator[list[Any]]:
        """Yield the rows of a result, a page of the service at a time.

        :param id: the statement, or one of a batch
        """
        for page in self._pages(id):
            decode = [decoder(column) for column in page["ColumnMetadata"]]
            for record in page["Records"]:
                yield [make(field) for make, field in zip(decode, record, strict=True)]

    def pages(self, id: str) -> Iterator[list[list[str | None]]]:
        """Yield the pages of a result, each value as a text.

        :param id: the statement, or one of a batch
        """
        for page in self._pages(id):
            yield [[field_text(field) for field in record] for record in page["Records"]]

    def _pages(self, id: str) -> Iterator[Mapping[str, Any]]:
        token: dict[str, str] = {}
        while True:
            with self.errors(f"result of statement {id}"):
                page: Mapping[str, Any] = self.client().get_statement_result(Id=id, **token)
            yield page
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}


def _job(found: Mapping[str, Any]) -> Job:
    state = _STATES.get(found["Status"])
    if state is None:
        raise PermanentError(f"statement {found['Id']} has a state that nobody knows: {found['Status']}")
    name = str(found.get("StatementName") or "").partition(" ")[0]
    return Job(found["Id"], name, state, " ".join(str(found.get("Error") or "").split()))
