"""Values on their way through the Data API: parameters as it takes them, fields as Python knows them.

Sources: ``SqlParameter``, ``Field`` and ``ColumnMetadata`` of the Amazon Redshift Data API Reference; the texts of
dates and times are those of Redshift's DateStyle ISO.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tradewind.hooks.errors import InvalidArgument

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def parameter_list(parameters: Parameters | None) -> list[dict[str, str]]:
    """Return parameters as the service takes them.

    :param parameters: values by their names, or the service's own list of ``{"name": ..., "value": ...}``
    :raises InvalidArgument: for a value that the service cannot bind
    """
    if not parameters:
        return []
    if isinstance(parameters, Mapping):
        pairs = list(parameters.items())
    else:
        wrong = next((each for each in parameters if {"name", "value"} != set(each)), None)
        if wrong is not None:
            raise InvalidArgument(f'parameters: {wrong!r} is not {{"name": ..., "value": ...}}: give a dict of values')
        pairs = [(each["name"], each["value"]) for each in parameters]
    return [{"name": str(name), "value": _text(name, value)} for name, value in pairs]


def _text(name: str, value: Any) -> str:
    if value is None or value == "":
        what = "NULL" if value is None else "an empty text"
        raise InvalidArgument(f"parameters: the Data API cannot bind {what} ({name}): write it into the SQL")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat(*([" "] if isinstance(value, datetime) else []))
    if isinstance(value, Decimal):
        return format(value, "f")
    return value if isinstance(value, str) else str(value)


def _moment(text: str) -> Any:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # infinity, and years that Python does not know
        return text


def _day(text: str) -> Any:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


_TEXTS: dict[str, Callable[[str], Any]] = {
    "numeric": Decimal,
    "date": _day,
    "timestamp": _moment,
    "timestamptz": _moment,
    "super": json.loads,
    "float4": float,
    "float8": float,
}


def field_text(field: Mapping[str, Any]) -> str | None:
    """Return a field as the server itself writes it, None for NULL.

    :param field: the service's
    """
    if field.get("isNull"):
        return None
    value = next(iter(field.values()))
    if isinstance(value, bool):
        return "t" if value else "f"
    return value if isinstance(value, str) else repr(value)


def decoder(column: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
    """Return what makes a value of a field of a column.

    Numbers are exact: ``numeric`` is a Decimal; ``date``, ``timestamp`` and ``timestamptz`` are dates and datetimes,
    ``super`` is what its JSON says; all other texts stay texts.

    :param column: the service's description of the column
    """
    from_text = _TEXTS.get(str(column.get("typeName", "")).lower(), str)

    def decode(field: Mapping[str, Any]) -> Any:
        if field.get("isNull"):
            return None
        (kind, value) = next(iter(field.items()))
        return from_text(value) if kind == "stringValue" else value

    return decode
