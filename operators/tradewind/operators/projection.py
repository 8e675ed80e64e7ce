"""Which columns a source gives, under which names and types, and constants beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from tradewind.hooks.errors import DataError, InvalidArgument
from tradewind.hooks.nearest import nearest
from tradewind.operators.names import shown
from tradewind.operators.templates import templated

if TYPE_CHECKING:
    from tradewind.operators.casts import Cast


class Marker(Enum):
    """What a constant column can hold that is known only when a file is read."""

    FILE_NAME = "file name"

    def __repr__(self) -> str:
        return self.name


FILE_NAME = Marker.FILE_NAME
"""A constant that is the URL of the file that a row comes from."""


@dataclass(frozen=True)
class Field:
    """What becomes of a field of the source.

    :param name: the column's name in the target
    :param type: what it is cast to: boolean, integer, bigint, decimal(12,2), double, date, time, timestamp,
        timestamptz, text, json, uuid, bytes; None leaves it as it is
    """

    name: str
    type: str | None = None


Constant = str | int | float | Decimal | date | time | UUID | Marker | None
Columns = Sequence[str] | Mapping[str, str | Field]


@dataclass(frozen=True)
class Output:
    """A column that a source gives.

    :param name: its name in the target
    :param field: the source's field, None for a constant
    :param cast: the type to cast to, None for none
    :param value: a constant's text, None for NULL
    :param is_file: whether the constant is the file's URL
    :param index: where the field stands in a record, once the source's fields are known
    """

    name: str
    field: str | None = None
    cast: Cast | None = None
    value: str | None = None
    is_file: bool = False
    index: int = -1


@dataclass(frozen=True)
class Projection:
    """The columns that a source gives.

    :param chosen: fields in order, None for all as they are
    :param constants: the columns that follow them
    """

    chosen: tuple[Output, ...] | None = None
    constants: tuple[Output, ...] = ()

    @classmethod
    def make(
        cls, columns: Mapping[str, str | Field] | None, constants: Mapping[str, Constant] | None
    ) -> Projection | None:
        """Read what an author declared; None where nothing is.

        :param columns: the fields by their names in the source
        :param constants: constants by their names in the target
        :raises InvalidArgument: where two columns have one name, or something is no name, type or constant
        """
        if columns is None and not constants:
            return None
        chosen = None if columns is None else tuple(_output(name, to) for name, to in columns.items())
        if chosen is not None and not chosen:
            raise InvalidArgument("columns is an empty dict: name a column at least, or leave it out")
        made = cls(chosen, tuple(_constant(name, value) for name, value in (constants or {}).items()))
        names = [output.name for output in (*(chosen or ()), *made.constants)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidArgument(f"columns and constants name the column {twice!r} {names.count(twice)} times")
        return made

    def resolve(self, fields: Sequence[str] | None, source: str) -> tuple[Output, ...]:
        """Find the fields of a source.

        :param fields: its fields in order, None where nothing names them
        :param source: its name, for messages, and the value of :data:`FILE_NAME`
        :return: the columns in order, each with its ``index`` or its ``value``
        :raises DataError: where the source has no such field, or one that a constant is named as
        """
        if fields is None:
            raise DataError(f"{source} has no header, which columns= and constants= need", source=source, line=1)
        if self.chosen is None:
            found = [Output(name, name, index=index) for index, name in enumerate(fields)]
        else:
            found = [replace(output, index=_index(output, fields, source)) for output in self.chosen]
        taken = {output.name.casefold(): output.name for output in found}
        for constant in self.constants:
            if constant.name.casefold() in taken:
                raise DataError(
                    f"{source} has a column {taken[constant.name.casefold()]!r}, which is a constant too: "
                    "name the constant otherwise, or choose the columns",
                    source=source,
                    column=constant.name,
                )
        _refuse_twice(found, source)
        return (*found, *(replace(one, value=source) if one.is_file else one for one in self.constants))

    def wanted(self, fields: Sequence[str]) -> tuple[str, ...] | None:
        """Return those of a source's fields that must be read, in the order of the columns.

        :param fields: what the source has
        :return: None for all: none are chosen, or :meth:`resolve` has something to say against those that are
        """
        try:
            found = [fields[_index(output, fields, "")] for output in self.chosen or ()]
        except DataError:
            return None
        return tuple(found) if found and len(set(found)) == len(found) else None

    @property
    def names_file(self) -> bool:
        """Whether a constant is the file's URL."""
        return any(constant.is_file for constant in self.constants)


class Projecting:
    """An end that, as a source, can give chosen columns and constants; see :class:`Projection`."""

    columns: Columns | None
    constants: Mapping[str, Constant] | None
    lists_choose: ClassVar[bool] = True
    """Whether a list of columns chooses some; else it names the fields of a file in order."""
    has_files: ClassVar[bool] = False
    """Whether rows come from files, which :data:`FILE_NAME` names."""

    @property
    def projects(self) -> bool:
        """Whether anything is asked for that only a source can give."""
        return bool(self.constants) or isinstance(self.columns, Mapping) or (self.lists_choose and bool(self.columns))

    def check_projection(self) -> None:
        """Refuse columns and constants that cannot be; templates are seen when they are rendered.

        :raises InvalidArgument: with what, which and what instead
        """
        if isinstance(self.columns, str) and not templated(self.columns):
            raise InvalidArgument(f"columns must be a list of names or a dict of them, not the text {self.columns!r}")
        if self.constants is not None and not isinstance(self.constants, Mapping):
            raise InvalidArgument(f"constants must be a dict of names and values, not {self.constants!r}")
        projection = self.projection()
        if projection is not None and projection.names_file and not self.has_files:
            raise InvalidArgument(f"FILE_NAME is the name of a file, and {self!r} reads none: leave the constant out")

    def projection(self) -> Projection | None:
        """Return what was declared, None where the columns stay as they are."""
        columns = self.columns
        if columns is not None and not isinstance(columns, str | Mapping) and self.lists_choose:
            columns = dict(zip(columns, columns, strict=True))
            if len(columns) < len(self.columns or ()):
                raise InvalidArgument(f"columns names a column twice: {shown(list(self.columns or ()))}")
        return Projection.make(columns if isinstance(columns, Mapping) else None, self.constants)


def keeps_records(outputs: Sequence[Output], width: int) -> bool:
    """Say whether records can stay as they are: all fields, in order, only named otherwise.

    :param outputs: the columns, resolved
    :param width: how many fields a record has
    """
    return [output.index for output in outputs] == list(range(width)) and not any(output.cast for output in outputs)


def _output(name: object, to: object) -> Output:
    field = to if isinstance(to, Field) else Field(to)  # type: ignore[arg-type]
    for text in (name, field.name):
        if not isinstance(text, str) or not text:
            raise InvalidArgument(
                f"columns must be names to names, as {{'dep_time': 'departure'}}, not {name!r}: {to!r}"
            )
    if field.type is None:
        return Output(field.name, str(name))
    from tradewind.operators.casts import Cast

    return Output(field.name, str(name), Cast.parse(field.type))


def _constant(name: object, value: object) -> Output:
    if not isinstance(name, str) or not name:
        raise InvalidArgument(f"constants must be names to values, not {name!r}: {value!r}")
    if isinstance(value, Marker):
        return Output(name, is_file=True)
    if value is not None and not isinstance(value, str | int | float | Decimal | date | time | UUID):
        raise InvalidArgument(f"constant {name!r} must be a text, number, date, FILE_NAME or None, not {value!r}")
    if isinstance(value, str) and "\0" in value:
        raise InvalidArgument(f"constant {name!r} holds a NUL character")
    from tradewind.operators.formats.values import scalar_text

    return Output(name, value=scalar_text(value))


def _index(output: Output, fields: Sequence[str], source: str) -> int:
    name = output.field or ""
    if name in fields:
        return list(fields).index(name)
    folded = [index for index, field in enumerate(fields) if field.strip().casefold() == name.casefold()]
    if len(folded) == 1:
        return folded[0]
    near = nearest(name.casefold(), [field.casefold() for field in fields])
    meant = next((field for field in fields if near and field.casefold() == near[0]), None)
    hint = f"did you mean {meant!r}? " if meant else ""
    raise DataError(
        f"columns: {source} has no column {name!r}: {hint}(it has {shown(fields)})", source=source, line=1, column=name
    )


def _refuse_twice(found: Sequence[Output], source: str) -> None:
    seen: dict[int, str] = {}
    for output in found:
        if output.index in seen:
            raise DataError(
                f"columns: {seen[output.index]!r} and {output.field!r} are one column of {source}: write it once",
                source=source,
                column=output.field,
            )
        seen[output.index] = output.field or ""
