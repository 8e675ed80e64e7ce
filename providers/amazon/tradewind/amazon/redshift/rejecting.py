"""Bad records of a load that goes on: COPY leaves them out, and the service tells which they are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tradewind.amazon.redshift.load_errors import refused_records
from tradewind.amazon.redshift.marking import renderer
from tradewind.amazon.redshift.tracing import find_records, placed
from tradewind.hooks.errors import DataError, TradewindError
from tradewind.operators.dialect import CsvDialect

if TYPE_CHECKING:
    from tradewind.amazon.redshift.loading import Loader
    from tradewind.amazon.redshift.sessions import Session
    from tradewind.operators.ends import Reading
    from tradewind.operators.files.manifests import Manifest
    from tradewind.operators.tables.rejects import Rejects

_BEAT = 20.0
"""Seconds after which the load's session is used, which the service would end when it is idle for longer."""


class SettingAside:
    """Sets aside the records that a COPY left out.

    :param session: the load's connection, in its transaction
    :param loader: how the table is loaded
    :param manifest: the staged objects
    :param reading: the source that was staged
    :param numbered: whether the staged records begin with a number
    """

    def __init__(
        self, session: Session, loader: Loader, manifest: Manifest, reading: Reading, *, numbered: bool
    ) -> None:
        self._session = session
        self._loader = loader
        self._manifest = manifest
        self._reading = reading
        self._numbered = numbered
        written = {name: manifest.written[name] for name in ("delimiter", "quote", "null")}
        self._written = CsvDialect(**written, header=False)
        self._render = renderer(self._written, CsvDialect(delimiter=self._written.delimiter, quote=self._written.quote))
        self._last = time.monotonic()

    def run(self, rejects: Rejects, count: int) -> None:
        """Set the records aside.

        :param rejects: takes them
        :param count: how many were left out: rows that were staged and not loaded
        :raises DataError: where the service tells of others
        """
        with self._loader.open_session() as beside:
            errors = refused_records(beside, self._loader.staging.url, count)
        found = find_records(errors, self._manifest, self._loader.staging.storage(), self._beat)
        if len(found) != count:
            raise DataError(
                f"COPY left out {count:,} of the records that were staged, the service tells of {len(found):,}: "
                "nothing is committed"
            )
        for each in placed(found, self._reading, self._shown, self._beat):
            rejects.add(each.name, each.record, each.error, each.reason)

    def _shown(self, record: bytes) -> bytes:
        """Return a staged record as it came from the source."""
        if self._numbered:
            record = record.partition(self._written.delimiter.encode())[2]
        return self._render(record)

    def _beat(self) -> None:
        if time.monotonic() - self._last > _BEAT:
            self._session.query("SELECT 1")
            self._last = time.monotonic()


def too_many(session: Session, folder: str, most: int, told: DataError) -> DataError:
    """Return the error of a COPY that failed for the number of its bad records, else the one that it told.

    :param session: the load's connection, its transaction rolled back
    :param folder: where the staged objects of the try lie
    :param most: how many there may be
    :param told: the error of one record
    """
    try:
        refused_records(session, folder, most + 1, patience=2.0)
    except TradewindError:
        return told
    text = f"more than {most:,} bad records, nothing is loaded; one of them: {told}"
    return DataError(text, source=told.source, line=told.line, column=told.column)
