"""Tables of hostile names and values."""

from __future__ import annotations

import csv
import io
from typing import Any

from tests.fix_airflow import make_context
from tests.proofs.listeners import Service
from tests.proofs.payloads import Payloads
from tests.stage import BUCKET, LAKE


class TableRound:
    """A table of hostile names: loaded from a file with a hostile header, read back, and unloaded again.

    :param service: where the table is
    :param payloads: makes the names and the values
    :param number: which round it is: odd ones have the table made by the copy
    """

    def __init__(self, service: Service, payloads: Payloads, number: int) -> None:
        self.service = service
        self.payloads = payloads
        self.creates = number % 4 == 3
        self.mode = ("append", "replace", "merge")[number % 3]
        self.schema, self.name, self.ledger = (payloads.name() for _ in range(3))
        self.fields = [payloads.name() for _ in range(2)]
        self.columns = [payloads.name() for _ in range(3)]
        self.rows = [(payloads.value(), payloads.value()) for _ in range(4)]
        self.constant = payloads.value()
        self.run_id = payloads.value()
        self.delimiter = payloads.random.choice(",;|\t'%$\\#`")
        self.told: set[str] = set()

    @property
    def full(self) -> str:
        """The table's name as SQL and an author write it."""
        return f"{self.service.quote(self.schema)}.{self.service.quote(self.name)}"

    def problems(self) -> list[str]:
        """Run it, and say what went wrong."""
        service = self.service
        service.make(self.schema, self.name, self.columns)
        if self.creates:
            service.run(f"DROP TABLE {self.full}")
        service.statements()
        wrong = [*self._load(), *self._unload(), *self._query()]
        found, self.told = service.judge()
        if not self.told:
            wrong.append("the server's log holds nothing of this round")
        wrong += found
        service.drop(self.schema)
        return wrong

    def _load(self) -> list[str]:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([self.fields, *self.rows])
        put(self.service.client, text.getvalue())
        names = dict(zip(self.fields, self.columns, strict=False))
        source = file("in", delimiter=self.delimiter, columns=names, constants={self.columns[2]: self.constant})
        key = self.columns[0] if self.mode == "merge" else None
        ledger = f"{self.service.quote(self.schema)}.{self.service.quote(self.ledger)}"
        target = self.service.table(self.full, ledger)
        copy(self.run_id, source, target, mode=self.mode, key=key, create=self.creates, expect=self._expectations())
        listed = ", ".join(map(self.service.quote, self.columns))
        found = sorted(self.service.run(f"SELECT {listed} FROM {self.full}"))
        wanted = sorted((*row, self.constant) for row in self.rows)
        return [] if found == wanted else [f"the table holds {found}, not {wanted}"]

    def _expectations(self) -> list[Any]:
        from tradewind.operators.expectations import NotNull, Unique

        return [Unique(self.columns[0]), NotNull(*self.columns)]

    def _unload(self) -> list[str]:
        copy(self.run_id, self.service.table(self.full, self.full), file("out"))
        found = records(self.service.client)
        same = found[:1] == [tuple(self.columns)] and sorted(found[1:]) == sorted(
            (*row, self.constant) for row in self.rows
        )
        return [] if same else [f"the table is read as {found}"]

    def _query(self) -> list[str]:
        key, value = (self.service.quote(name).replace("%", "%%") for name in self.columns[:2])
        table = self.full.replace("%", "%%")
        wanted = self.rows[0]
        source = self.service.query(
            f"SELECT {value}, %s AS given FROM {table} WHERE {key} = %s", [wanted[1], wanted[0]]
        )
        copy(self.run_id, source, file("out"))
        found = records(self.service.client)
        return [] if found[1:] == [(wanted[1], wanted[1])] else [f"a query gives {found}, not {wanted}"]


def file(name: str, **options: Any) -> Any:
    """Return a CSV file in S3.

    :param options: of :class:`~tradewind.amazon.s3.files.S3File`
    """
    from tradewind.amazon.s3.files import S3File

    return S3File(f"s3://{BUCKET}/hostile/{name}.csv", conn_id=LAKE, **options)


def put(client: Any, text: str) -> None:
    """Write the file ``in``."""
    client.put_object(Bucket=BUCKET, Key="hostile/in.csv", Body=text.encode())


def copy(run_id: str, source: Any, target: Any, **arguments: Any) -> None:
    """Copy as Airflow does."""
    from tradewind.operators.copy import CopyOperator

    operator = CopyOperator(task_id="copy", source=source, target=target, **arguments)
    operator.execute(make_context(operator, run_id=run_id))


def records(client: Any) -> list[tuple[str, ...]]:
    """Return the records of the file ``out``, its header the first."""
    body = client.get_object(Bucket=BUCKET, Key="hostile/out.csv")["Body"].read()
    return [tuple(record) for record in csv.reader(io.StringIO(body.decode(), newline=""))]
