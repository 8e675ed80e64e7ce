"""What CopyOperator refuses when the DAG is parsed, and what it makes of its ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.work import Work
from tradewind.operators.copy import CopyOperator
from tradewind.operators.dialect import CsvDialect
from tradewind.operators.ends import (
    CopyRequest,
    CopyResult,
    FileTarget,
    Mode,
    Part,
    Reading,
    Sink,
    Source,
    Target,
)
from tradewind.operators.plan import Plan
from tradewind.operators.progress import Progress, megabytes
from tradewind.operators.types import Arrays


class Lines(Source):
    template_fields = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> str:
        return self.name

    def check(self) -> None:
        if not self.name:
            raise InvalidArgument("a name is needed")

    def assets(self) -> list[str]:
        return [] if "{{" in self.name else [f"s3://lines/{self.name}"]

    def open(self, work: Work) -> AbstractContextManager[Reading]:
        return nullcontext(LinesReading(self.name))


class LinesReading(Reading):
    def __init__(self, name: str) -> None:
        self.name = name
        self.cancelled = 0

    @property
    def fingerprint(self) -> str:
        return self.name

    def parts(self, dialect: CsvDialect | None = None, *, arrays: Arrays = "braces") -> Iterator[Part]:
        return iter(())

    def cancel(self) -> None:
        self.cancelled += 1


class Box(Target):
    creates = True

    def __init__(self, modes: frozenset[Mode] | None = None, during: Callable[[], None] | None = None) -> None:
        if modes:
            self.modes = modes  # type: ignore[misc]
        self.during = during
        self.requests: list[CopyRequest] = []
        self.cancelled = 0

    def describe(self) -> str:
        return "box"

    def check(self) -> None: ...

    def write(self, reading: Reading, request: CopyRequest, progress: Progress) -> CopyResult:
        self.requests.append(request)
        if self.during:
            self.during()
        return CopyResult(rows=3, inserted=2, unchanged=1, bytes=10, files=["a"])

    def plan(self, reading: Reading, request: CopyRequest) -> Plan:
        self.requests.append(request)
        return Plan("into the box", files=[("a", 3)])

    def cancel(self) -> None:
        self.cancelled += 1


class Rejects(FileTarget, Box):
    opened: ClassVar[list[Work]] = []

    def open_sink(self, work: Work, suffix: str = "") -> Sink:
        self.opened.append(work)
        raise InvalidArgument("not in this test")


def context(**ti: Any) -> Any:
    values: dict[str, Any] = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
    return {"ti": SimpleNamespace(**{**values, "max_tries": 0, **ti})}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "s3://a/b"}, "source must be one of the ends of a copy"),
        ({"target": Lines("x")}, "target must be one of the ends of a copy"),
        ({"source": Lines("")}, "a name is needed"),
        ({"mode": "apend"}, "did you mean 'append'"),
        ({"mode": "overwrite_everything"}, "use one of append, replace, merge"),
        ({"mode": "merge"}, "needs key="),
        ({"key": "id"}, "key='id' means nothing to mode 'append'"),
        ({"target": Box(frozenset({"replace"}))}, "use replace"),
        ({"max_errors": -1}, "max_errors must be a whole number"),
        ({"max_errors": 5}, "max_errors needs rejects="),
        ({"rejects": Rejects()}, "without max_errors="),
    ],
)
def test_refuses_what_cannot_work(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message.replace("[", r"\[").replace("(", r"\(")):
        CopyOperator(**{"task_id": "t", "source": Lines("a"), "target": Box(), **arguments})


def test_returns_plain_values() -> None:
    box = Box()
    result = CopyOperator(task_id="t", source=Lines("a"), target=box, mode="merge", key="id").execute(context())

    assert result["rows"] == 3
    assert result["inserted"] == 2
    assert result["loaded_before"] is None
    assert box.requests[0].key == ("id",)


def test_a_retry_is_the_same_work_and_a_clear_is_not_but_for_append() -> None:
    request = CopyRequest(work=Work.from_context(context()))
    retry = CopyRequest(work=Work.from_context(context(try_number=2)))
    cleared = Work.from_context(context(try_number=2, max_tries=2))

    assert request.token("x") == retry.token("x") == CopyRequest(work=cleared).token("x")
    assert CopyRequest(work=cleared, mode="merge").token("x") != CopyRequest(work=request.work, mode="merge").token("x")
    assert request.token("x") != request.token("y")


def test_a_kill_cancels_both_ends() -> None:
    operator = CopyOperator(task_id="t", source=Lines("a"), target=Box())
    box = operator.target
    assert isinstance(box, Box)
    seen: list[Reading] = []

    def killed() -> None:
        assert operator._reading is not None
        seen.append(operator._reading)
        operator.on_kill()

    box.during = killed
    operator.execute(context())

    assert box.cancelled == 1
    assert isinstance(seen[0], LinesReading)
    assert seen[0].cancelled == 1


def test_ends_are_named_as_assets_unless_templated() -> None:
    named = CopyOperator(task_id="t", source=Lines("a"), target=Box())
    templated = CopyOperator(task_id="t", source=Lines("{{ ds }}"), target=Box())

    assert [asset.uri for asset in named.inlets] == ["s3://lines/a"]
    assert templated.inlets == []


def test_tasks_that_share_an_end_render_their_own() -> None:
    shared = Lines("{{ ds }}")
    first, second = (CopyOperator(task_id=name, source=shared, target=Box()) for name in ("first", "second"))
    first.render_template_fields({"ds": "monday"})
    second.render_template_fields({"ds": "tuesday"})

    assert isinstance(first.source, Lines)
    assert isinstance(second.source, Lines)
    assert (first.source.name, second.source.name, shared.name) == ("monday", "tuesday", "{{ ds }}")


def test_progress_speaks_at_a_sane_pace() -> None:
    lines: list[str] = []
    now = [0.0]
    log = SimpleNamespace(info=lambda message, *args: lines.append(message % args))
    progress = Progress(log, "copy", lambda: now[0] / 20, interval=5, clock=lambda: now[0])
    for second in range(1, 13):
        now[0] = float(second)
        progress.add(10_000_000, rows=1000)

    assert len(lines) == 2
    assert lines[0] == "copy: 5,000 rows, 50.0 MB, 10.0 MB/s, 25 %, about 15 s left"


@pytest.mark.parametrize(
    ("count", "text"), [(10, "0.0 kB"), (99_000, "99.0 kB"), (31_000_000, "31.0 MB"), (3 * 10**9, "3.00 GB")]
)
def test_megabytes(count: int, text: str) -> None:
    assert megabytes(count) == text
