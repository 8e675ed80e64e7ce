"""``CopyOperator``: move data from any source to any target, exactly once."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tradewind.hooks.compat import AIRFLOW_3, BaseOperator, Context, asset
from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.nearest import nearest
from tradewind.hooks.work import Work
from tradewind.operators.ends import (
    DUPLICATES,
    MODES,
    CopyRequest,
    CopyResult,
    Duplicates,
    FileTarget,
    Mode,
    Reading,
    Source,
    Target,
)
from tradewind.operators.expecting import Expectation, as_expectations
from tradewind.operators.links import TARGET_LINK, TargetLink, link_of
from tradewind.operators.plan import truth
from tradewind.operators.progress import Progress, megabytes
from tradewind.operators.projection import Projecting

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from jinja2 import Environment


class CopyOperator(BaseOperator):
    """Copy a source into a target in one transaction, so that a kill at any byte loses and doubles nothing.

    The result is the task's XCom: a dict with ``rows``, ``rows_read``, ``rows_written``, ``inserted``, ``updated``,
    ``unchanged``, ``duplicates``, ``rejected``, ``bytes``, ``seconds``, ``files`` (the first hundred), ``file_count``,
    ``plan``, ``loaded_before``, ``counted`` and ``dry_run`` (see :class:`tradewind.operators.ends.CopyResult`).

    :param source: where the data comes from: ``S3File(...)``, ``PostgresTable(...)``, ``PostgresQuery(...)``
    :param target: where it goes: ``PostgresTable(...)``, ``S3File(...)``
    :param mode: ``append`` adds the rows, ``replace`` puts them in place of what is there, ``merge`` inserts or
        updates by ``key``; a file is always written whole
    :param key: the columns that identify a row, for ``merge``
    :param duplicates: what a ``merge`` does where several records of its input have the same key: an ``error``, or the
        ``last`` or the ``first`` of them counts. Files come in the order of their names, and their records in theirs;
        of a table nobody knows the order, a query may say it by ORDER BY
    :param create: create the target table from the input where it is not there
    :param reload: load even if this very input of this run was loaded before
    :param max_errors: how many bad records may be set aside into ``rejects`` before the copy fails
    :param rejects: the file that takes bad records, as ``S3File("s3://bucket/rejects/{{ ds }}.csv")``
    :param expect: what must hold before the commit, as ``[RowCount(min=1), Unique("id")]`` (see
        :mod:`tradewind.operators.expectations`): where something does not, nothing is committed; a set of numbered
        files, whose parts are written one by one, is then left without its manifest
    :param dry_run: make the plan, log it and return it, and change nothing: which way the data goes, the SQL, the files
        and their sizes, which column goes where, whether the ledger holds the input, which rights are needed and which
        of them are missing; what is wrong is the same error as in a real run. Templated: ``"{{ params.dry_run }}"``
    :raises InvalidArgument: when the DAG is parsed, where the arguments cannot work together
    """

    template_fields: Sequence[str] = ("source", "target", "key", "rejects", "expect", "plan_only")
    operator_extra_links = (TargetLink(),)
    ui_color = "#d7e8e4"

    def __init__(
        self,
        *,
        source: Source,
        target: Target,
        mode: Mode = "append",
        key: str | Sequence[str] | None = None,
        duplicates: Duplicates = "error",
        create: bool = False,
        reload: bool = False,
        max_errors: int = 0,
        rejects: FileTarget | None = None,
        expect: Expectation | Sequence[Expectation] | None = None,
        dry_run: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.mode = mode
        self.key = key
        self.duplicates = duplicates
        self.create = create
        self.reload = reload
        self.max_errors = max_errors
        self.rejects = rejects
        self.expect = expect
        self.plan_only = dry_run  # dry_run() is a method of Airflow's
        self._reading: Reading | None = None
        self._result: CopyResult | None = None
        self._check()
        self._name_assets()
        self._own_ends()

    def render_template_fields(self, context: Context, jinja_env: Environment | None = None) -> None:
        """Render this task's own ends, not those of the DAG file."""
        self._own_ends()
        super().render_template_fields(context, jinja_env)

    def execute(self, context: Context) -> dict[str, Any]:
        """Copy, and return what was done."""
        work = Work.from_context(context)
        self._check_expectations()  # of rendered templates
        if not AIRFLOW_3 and (link := link_of(self.target)):
            context["ti"].xcom_push(TARGET_LINK, link)
        if truth(self.plan_only, "dry_run"):
            return self._plan(work)
        started = time.monotonic()
        with self.source.open(work) as reading:
            self._reading = reading
            progress = Progress(self.log, self._description, lambda: reading.share)
            result = self.target.write(reading, self._request(work), progress)
        self._reading = None
        result.seconds = time.monotonic() - started
        self._result = result
        self._tell(result)
        return {**result.as_dict(), "dry_run": False}

    def _plan(self, work: Work) -> dict[str, Any]:
        """Say what a run would do, and return that."""
        with self.source.open(work) as reading:
            plan = self.target.plan(reading, self._request(work))
        self.log.info("%s: a dry run, nothing is changed", self._description)
        for line in plan.lines():
            self.log.info("%s", line)
        if plan.lacking:
            self.log.warning("a run would fail for want of rights: %s", ", ".join(plan.lacking))
        return {**plan.as_dict(), "dry_run": True}

    def on_kill(self) -> None:
        """Stop in the services what this task began there."""
        self.log.info("killed: stopping the copy in %s and %s", self.source.describe(), self.target.describe())
        try:
            if self._reading is not None:
                self._reading.cancel()
        finally:
            self.target.cancel()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Name the datasets of this copy to OpenLineage, where its provider is installed."""
        from tradewind.operators.lineage import copy_lineage

        return copy_lineage(self.source, self.target, self._result)

    @property
    def _description(self) -> str:
        return f"{self.source.describe()} -> {self.target.describe()}"

    def _own_ends(self) -> None:
        """Copy the ends, for Airflow renders nested templates in place and tasks may share an end."""
        self.source = copy.copy(self.source)
        self.target = copy.copy(self.target)
        self.rejects = copy.copy(self.rejects)
        self.expect = [copy.copy(expectation) for expectation in as_expectations(self.expect)]

    def _request(self, work: Work) -> CopyRequest:
        rejects = self.rejects
        return CopyRequest(
            work=work,
            mode=self.mode,
            key=_names(self.key),
            duplicates=self.duplicates,
            create=self.create,
            reload=self.reload,
            max_errors=self.max_errors,
            open_rejects=None if rejects is None else lambda: rejects.open_sink(work),
            expect=as_expectations(self.expect),
            description=self._description,
        )

    def _tell(self, result: CopyResult) -> None:
        if result.loaded_before:
            self.log.info(
                "%s: nothing to do, this input was loaded at %s (%s rows); reload=True loads it again",
                self._description,
                result.loaded_before,
                f"{result.rows:,}",
            )
            return
        counts = {"inserted": result.inserted, "updated": result.updated, "unchanged": result.unchanged}
        counts |= {"duplicates left out": result.duplicates, "rejected": result.rejected}
        details = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        rows = f"{result.rows:,} rows{f' ({details})' if details else ''}, "
        self.log.info(
            "%s: %s%s in %.1f s",
            self._description,
            rows if result.counted else "",
            megabytes(result.bytes),
            result.seconds,
        )

    def _check(self) -> None:
        for name, end, kind in (("source", self.source, Source), ("target", self.target, Target)):
            if not isinstance(end, kind):
                raise InvalidArgument(f"{name} must be one of the ends of a copy, as S3File(...), not {end!r}")
            end.check()
        self.source.check_source()
        self.target.check_target()
        for written in (self.target, self.rejects):
            if isinstance(written, Projecting) and written.projects:
                raise InvalidArgument(f"columns= and constants= are the source's: take them off {written!r}")
        self._check_mode()
        self._check_errors()
        self._check_expectations()
        truth(self.plan_only, "dry_run")
        if self.create and not self.target.creates:
            raise InvalidArgument(f"create=True means nothing to {self.target!r}: leave it out")

    def _check_mode(self) -> None:
        if self.mode not in MODES:
            near = nearest(str(self.mode), MODES)
            hint = f": did you mean {near[0]!r}?" if near else f": use one of {', '.join(MODES)}"
            raise InvalidArgument(f"unknown mode {self.mode!r}{hint}")
        if self.mode not in self.target.modes:
            allowed = ", ".join(mode for mode in MODES if mode in self.target.modes)
            raise InvalidArgument(f"mode {self.mode!r} cannot write {self.target!r}: use {allowed}")
        if self.mode == "merge" and not self.key:
            raise InvalidArgument('mode "merge" needs key=[...], the columns that identify a row')
        if self.mode != "merge" and self.key:
            raise InvalidArgument(f'key={self.key!r} means nothing to mode {self.mode!r}: leave it out or use "merge"')
        if self.duplicates not in DUPLICATES:
            raise InvalidArgument(f"duplicates must be one of {', '.join(DUPLICATES)}, not {self.duplicates!r}")
        if self.duplicates not in self.target.keeps:
            kept = ", ".join(which for which in DUPLICATES if which in self.target.keeps)
            raise InvalidArgument(
                f"duplicates={self.duplicates!r} cannot be kept by {self.target!r}, which knows no order of its input: "
                f"use {kept}"
            )
        if self.mode != "merge" and self.duplicates != "error":
            raise InvalidArgument(
                f"duplicates={self.duplicates!r} means nothing to mode {self.mode!r}, which has no key: "
                'leave it out or use "merge"'
            )

    def _check_errors(self) -> None:
        if not isinstance(self.max_errors, int) or self.max_errors < 0:
            raise InvalidArgument(f"max_errors must be a whole number from 0 on, not {self.max_errors!r}")
        if self.max_errors and not isinstance(self.rejects, FileTarget):
            raise InvalidArgument("max_errors needs rejects=, a file that takes the bad records, as S3File(...)")
        if self.rejects is not None:
            if not self.max_errors:
                raise InvalidArgument("rejects= without max_errors= would never be written: give both or neither")
            self.rejects.check()
            self.rejects.check_target()
            self.rejects.check_rejects()
        if self.max_errors and not (self.target.creates and self.target.sets_aside):
            raise InvalidArgument(f"max_errors= means nothing to {self.target!r}: leave it out")
        most = self.target.most_errors
        if most is not None and self.max_errors > most:
            raise InvalidArgument(f"max_errors must be at most {most:,} for {self.target!r}, not {self.max_errors:,}")

    def _check_expectations(self) -> None:
        for expectation in as_expectations(self.expect):
            self.target.check_expectation(expectation)
            if expectation.of_load and self.max_errors and self.mode == "append":
                raise InvalidArgument(
                    f"expect={expectation!r} looks at the rows before they are appended, and max_errors= sets aside "
                    "what the table refuses then: leave one of them out, or use mode 'merge'"
                )

    def _name_assets(self) -> None:
        """Add the ends to inlets and outlets, so that other DAGs can be scheduled on them."""
        for given, end in ((self.inlets, self.source), (self.outlets, self.target)):
            known = {getattr(item, "uri", None) for item in given}
            given.extend(asset(uri) for uri in end.assets() if uri not in known)


def _names(key: str | Sequence[str] | None) -> tuple[str, ...]:
    if key is None:
        return ()
    return (key,) if isinstance(key, str) else tuple(key)
