"""What the server says about a record, told with the file and the line that a person can open."""

from __future__ import annotations

from tradewind.hooks.errors import DataError

_NUL = 'invalid byte sequence for encoding "UTF8": 0x00'


def server_text(error: DataError) -> str:
    """Return the server's own words on an error.

    :param error: a translated error, or one made from it
    """
    cause: BaseException | None = error
    while cause is not None:
        diag = getattr(cause, "diag", None)
        if diag is not None and diag.message_primary:
            detail = f" ({diag.message_detail.rstrip('.')})" if diag.message_detail else ""
            text = f"{diag.message_primary}{detail}"
            return text.replace(_NUL, "a NUL byte, which PostgreSQL cannot store")
        cause = cause.__cause__
    return str(error)


def located(error: DataError, name: str, line: int | None = None) -> DataError:
    """Name the file and the line of an error in a record.

    :param error: the error as the server told it
    :param name: the file
    :param line: the line in the file, by default the one that the server counted
    """
    line = error.line if line is None else line
    where = f"{name}, line {line:,}" if line is not None else name
    if error.column:
        where += f", column {error.column}"
    text = server_text(error)
    if error.value and error.value[:60] not in text:
        text += f' in "{error.value[:100]}"'
    made = DataError(f"{where}: {text}", source=name, line=line, column=error.column, value=error.value)
    made.__cause__ = error
    return made
