"""The sensor that waits for keys in S3."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tradewind.amazon.s3.keys import POLL_CONFIG, Awaited, digest, parse, require_bucket
from tradewind.amazon.sensors import AwsSensor
from tradewind.hooks.compat import AirflowException, Context
from tradewind.hooks.errors import InvalidArgument
from tradewind.sensors.waiting import NOT_YET, Look

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook
    from tradewind.amazon.s3.locations import S3Object
    from tradewind.amazon.s3.triggers import S3KeyTrigger
    from tradewind.sensors.pace import Pace

METADATA_KEYS = ("Size", "Key")
"""What ``check_fn`` is shown of each object unless told otherwise."""


class S3KeySensor(AwsSensor):
    """Wait until one or several keys are in S3.

    A poll costs one HEAD for each key, one LIST a thousand keys for each pattern. Throttling, lost connections and
    time-outs are outlived until ``timeout``; a missing bucket or right fails at once.

    With ``check_fn``, a deferred sensor runs it on the worker when all keys are there; if it refuses them it is asked
    again when an object among them changed, came or went (as HEAD or LIST show it), and once more at the timeout. A
    function that looks at the clock and not at the objects belongs in mode ``poke`` or ``reschedule``, where each poll
    asks it.

    Its XCom is a list with the URL of an object for each of ``bucket_key``: of a pattern, the first that matches.

    :param bucket_key: the key, or several of which each must be there: whole ``s3://bucket/key`` URLs, or keys of
        ``bucket_name``; taken as they are, with ``?``, ``#``, ``:`` or blanks
    :param bucket_name: the bucket, where the keys are no URLs
    :param wildcard_match: True takes the keys for Unix wildcards (``*`` crosses ``/``), False takes them literally,
        None takes those for wildcards that hold a ``*``
    :param check_fn: a function that gets a list of dictionaries, one for each object, (and the context where it takes
        ``**kwargs``) and says whether the wait is over; it is asked for each of ``bucket_key``
    :param use_regex: whether the keys are regular expressions, matched from a key's beginning as by ``re.match``
    :param metadata_keys: the attributes of HeadObject that ``check_fn`` gets, ``["*"]`` for all of them; ``Size`` and
        ``Key`` by default; those the listing does not have cost a HEAD for each match of a pattern
    :param kwargs: ``aws_conn_id``, ``deferrable``, ``poke_interval``, ``timeout`` and what else
        :class:`~tradewind.amazon.sensors.AwsSensor` takes
    :raises InvalidArgument: where the arguments cannot work, when the DAG is parsed or, of templates, when it runs
    """

    template_fields: Sequence[str] = ("bucket_key", "bucket_name", *AwsSensor.template_fields)
    ui_color = "#e8f3e1"

    def __init__(
        self,
        *,
        bucket_key: str | list[str],
        bucket_name: str | None = None,
        wildcard_match: bool | None = None,
        check_fn: Callable[..., bool] | None = None,
        use_regex: bool = False,
        metadata_keys: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket_key = bucket_key
        self.bucket_name = bucket_name
        self.wildcard_match = wildcard_match
        self.check_fn = check_fn
        self.use_regex = use_regex
        self.metadata_keys = metadata_keys
        self._check()

    def _check(self) -> None:
        if self.check_fn is not None and not callable(self.check_fn):
            raise InvalidArgument(f"check_fn must be a function, not {self.check_fn!r}")
        if self.metadata_keys is not None:
            if isinstance(self.metadata_keys, str) or not self.metadata_keys:
                raise InvalidArgument(f"metadata_keys must be a list of names, as ['*'], not {self.metadata_keys!r}")
            if self.check_fn is None:
                raise InvalidArgument("metadata_keys says what check_fn gets: give check_fn too, or leave it out")
        if _known(self.bucket_key) and _known(self.bucket_name):
            self._awaited(rendered=False)

    def _awaited(self, *, rendered: bool = True) -> list[Awaited]:
        return parse(self.bucket_key, self.bucket_name, self.wildcard_match, self.use_regex, rendered=rendered)

    @cached_property
    def hook(self) -> S3Hook:
        """The hook that the worker looks with."""
        from tradewind.amazon.s3.hooks import S3Hook

        return S3Hook(**self.aws, config=POLL_CONFIG)

    @property
    def worker_decides(self) -> bool:
        """Whether ``check_fn`` has the last word."""
        return self.check_fn is not None

    def look(self, context: Context) -> Look:
        """Look once for each key; the first that is missing ends the look."""
        found = []
        for awaited in self._awaited():
            objects = awaited.find(self.hook, every=self.worker_decides)
            if not objects:
                self.log.info("%s is not there yet", awaited.url)
                if awaited.kind == "key" and self._is_first_poke(context):
                    # HEAD does not tell a missing key from a missing bucket; LIST does.
                    require_bucket(self.hook, awaited.bucket)
                return NOT_YET
            found.append((awaited, objects))
        urls = [objects[0].url for _, objects in found]
        if all(self._accepts(awaited, objects, context) for awaited, objects in found):
            self.log.info("found %s", ", ".join(urls[:10]) + (" ..." if len(urls) > 10 else ""))
            return Look(True, urls)
        self.log.info("check_fn refuses what is there")
        return Look(False, seen=digest(objects for _, objects in found))

    def trigger(self, pace: Pace, seen: str | None) -> S3KeyTrigger:
        """Make the trigger that waits on."""
        from tradewind.amazon.s3.triggers import S3KeyTrigger

        return S3KeyTrigger(
            bucket_key=self.bucket_key,
            bucket_name=self.bucket_name,
            wildcard_match=self.wildcard_match,
            use_regex=self.use_regex,
            checked=self.worker_decides,
            seen=seen,
            **self.aws,
            pace=pace.as_dict(),
            silent_fail=self.silent_fail,
        )

    def _accepts(self, awaited: Awaited, objects: Sequence[S3Object], context: Context) -> bool:
        if self.check_fn is None:
            return True
        files = awaited.describe(self.hook, objects, self.metadata_keys or METADATA_KEYS)
        try:
            return bool(self.check_fn(files, **_context_for(self.check_fn, context)))
        except AirflowException:
            raise
        except Exception:
            if not self.silent_fail:
                raise
            self.log.exception("check_fn failed; silent_fail is set, so that counts as a refusal")
            return False

    def _is_first_poke(self, context: Context) -> bool:
        """Say whether this is the first poke, over reschedules and deferrals too."""
        if context.get("task_reschedule_count"):  # Airflow 3; Airflow 2 keeps the start over reschedules
            return False
        started = context["ti"].start_date
        return started is None or (datetime.now(UTC) - started).total_seconds() < self.poke_interval


def _known(value: Any) -> bool:
    """Say whether an argument is there already: another task's output is only there when the task runs."""
    if isinstance(value, (list, tuple)):
        return all(_known(item) for item in value)
    return value is None or not hasattr(value, "resolve")


def _context_for(check_fn: Callable[..., bool], context: Context) -> Mapping[str, Any]:
    parameters = inspect.signature(check_fn).parameters.values()
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return {}
    with warnings.catch_warnings():
        # Airflow 2 warns of each old name in its context that is looked at, asked for or not.
        warnings.simplefilter("ignore")
        return dict(context)
