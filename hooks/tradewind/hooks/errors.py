"""The errors that Tradewind raises.

::

    TradewindError
    +-- TransientError       Airflow retries the task
    |   +-- ConnectionFailed     the service cannot be reached, or went away
    |   +-- Throttled            the service asks to come back later
    |   +-- TimedOut             an answer did not come in time
    |   +-- Superseded           another try of the same work took over
    |   +-- SourceChanged        the input changed while it was read: the next try reads it anew
    +-- PermanentError       a retry cannot help: the task fails at once
        +-- InvalidArgument      an argument, or a pair of them, cannot work
        +-- NotFound             a named thing is not there
        +-- AccessDenied         the service refused the credentials or the right
        +-- DataError            the data does not fit the target

All of them are picklable, for Airflow hands them between processes.
"""

from __future__ import annotations

from tradewind.hooks.compat import AirflowException, AirflowFailException


class TradewindError(AirflowException):
    """The root of everything Tradewind raises on purpose."""


class TransientError(TradewindError):
    """A fault that may be gone at the next try."""


class ConnectionFailed(TransientError):
    """A service cannot be reached, or went away in the middle."""


class Throttled(TransientError):
    """A service asks to come back later."""


class TimedOut(TransientError):
    """An answer did not come in time."""


class Superseded(TransientError):
    """Another try of the same work took over."""


class PermanentError(TradewindError, AirflowFailException):
    """A fault that no retry mends."""


class InvalidArgument(PermanentError, ValueError):
    """An argument, or a combination of them, that cannot work."""


class NotFound(PermanentError):
    """A named thing that is not there."""


class AccessDenied(PermanentError):
    """Credentials or rights that the service refused."""


class DataError(PermanentError):
    """Data that does not fit its target.

    :param message: what is wrong, with file, line, column and value where known
    :param source: the file or query it came from
    :param line: the line in that file, counted from 1, the header included
    :param column: the column's name
    :param value: the offending text, shortened
    """

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        line: int | None = None,
        column: str | None = None,
        value: str | None = None,
    ) -> None:
        super().__init__(message)
        self.source = source
        self.line = line
        self.column = column
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_data_error, (str(self), self.source, self.line, self.column, self.value)


def _rebuild_data_error(
    message: str, source: str | None, line: int | None, column: str | None, value: str | None
) -> DataError:
    return DataError(message, source=source, line=line, column=column, value=value)


class SourceChanged(TransientError):
    """An input that changed while it was being read."""
