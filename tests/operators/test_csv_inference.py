"""Types told from values."""

from __future__ import annotations

import io

import pytest

from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import Part
from tradewind.operators.formats.csv.inference import infer, kind_of, widest
from tradewind.operators.formats.csv.records import open_csv

pytestmark = pytest.mark.anywhere


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("boolean", ["true", "FALSE", "t", "f"]),
        ("bigint", ["0", "-1", "9223372036854775807", "-9223372036854775808"]),
        ("decimal", ["9223372036854775808", "1" * 60, "0.10", "-1.5"]),
        ("double", ["1e5", "-1.5E-300"]),
        ("date", ["2000-02-29"]),
        ("timestamp", ["2000-02-29 23:59", "2000-02-29T23:59:59.123456"]),
        ("timestamptz", ["2000-02-29 23:59Z", "2000-02-29T23:59:59.5+0530", "2000-02-29 23:59:59-03"]),
        ("uuid", ["00000000-0000-4000-8000-00000000000a"]),
        ("text", ["01", "+1", "-0", "1.", ".5", "1,5", "NaN", "inf", "NA", "yes", "1 ", "2001-02-29", "01-02-2003",
                  "2000-02-29 25:00", "00000000-0000-4000-8000-00000000000A", "٣"]),
    ],
)  # fmt: skip
def test_a_value_keeps_its_text(kind: str, values: list[str]) -> None:
    assert {value: kind_of(value) for value in values} == dict.fromkeys(values, kind)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], None),
        (["NA", "NA"], None),
        (["", "1"], "text"),
        (["1", "2.5"], "decimal"),
        (["1", "2.5", "1e3"], "double"),
        (["2000-01-01", "2000-01-01 00:00"], "timestamp"),
        (["2000-01-01 00:00Z", "2000-01-01 00:00"], "text"),
        (["t", "1"], "text"),
    ],
)
def test_a_column_takes_all_of_its_values(values: list[str], kind: str | None) -> None:
    for order in (values, values[::-1]):
        assert widest(order, "NA") == kind


def test_the_input_is_as_it_was_afterwards() -> None:
    data = b"a,b\n" + b"1,x\n" * 1000
    source = open_csv(Part("f", lambda: io.BytesIO(data), CsvDialect()))
    assert infer(source, 100) == ["bigint", "text"]
    assert source.stream.read() == data[4:]


def test_a_long_text_is_looked_at_too() -> None:
    data = b"id,note\n1,%s\n" % (b"x" * (1 << 20))
    source = open_csv(Part("f.csv", lambda: io.BytesIO(data), CsvDialect()))

    assert infer(source, 1 << 22) == ["bigint", "text"]
