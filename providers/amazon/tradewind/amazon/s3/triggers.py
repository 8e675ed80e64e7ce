"""The trigger that waits for keys in S3."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from tradewind.amazon.s3.keys import POLL_CONFIG, digest, parse
from tradewind.amazon.triggers import AwsTrigger
from tradewind.sensors.triggers import PollTrigger

if TYPE_CHECKING:
    from tradewind.amazon.s3.hooks import S3Hook


SHARED_SECONDS = 600
"""Seconds after which new triggers read the connection anew instead of sharing a client."""

_hooks: WeakValueDictionary[tuple[object, ...], S3Hook] = WeakValueDictionary()
_making = threading.Lock()


class S3KeyTrigger(AwsTrigger, PollTrigger):
    """Wait until keys are in S3, by one HEAD for each key and one LIST for each pattern. Triggers share clients.

    It finds the URLs of the objects, or, ``checked``, what identifies them.

    :param bucket_key: the keys, rendered
    :param bucket_name: their bucket, where they are no URLs
    :param wildcard_match: see :class:`~tradewind.amazon.s3.sensors.S3KeySensor`
    :param use_regex: likewise
    :param checked: whether a function of the DAG has the last word: then all matches count, not the first
    :param seen: what the function refused: the trigger waits until it is another
    :param kwargs: what :class:`~tradewind.amazon.triggers.AwsTrigger` and every
        :class:`~tradewind.sensors.triggers.PollTrigger` take
    """

    def __init__(
        self,
        *,
        bucket_key: str | Sequence[str],
        bucket_name: str | None = None,
        wildcard_match: bool | None = None,
        use_regex: bool = False,
        checked: bool = False,
        seen: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket_key = bucket_key
        self.bucket_name = bucket_name
        self.wildcard_match = wildcard_match
        self.use_regex = use_regex
        self.checked = checked
        self.seen = seen
        self._hook: S3Hook | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that make this trigger anew."""
        return {
            "bucket_key": self.bucket_key if isinstance(self.bucket_key, str) else list(self.bucket_key),
            "bucket_name": self.bucket_name,
            "wildcard_match": self.wildcard_match,
            "use_regex": self.use_regex,
            "checked": self.checked,
            "seen": self.seen,
            **self.aws,
        }

    def close(self) -> None:
        """Let go of the client; the last trigger that does ends it."""
        self._hook = None

    def look(self) -> list[str] | str | None:
        """Look once for each key; the first that is missing ends the look."""
        if self._hook is None:
            self._hook = shared_hook(self.aws_conn_id, self.region_name, self.verify)
        found = []
        for awaited in parse(self.bucket_key, self.bucket_name, self.wildcard_match, self.use_regex):
            objects = awaited.find(self._hook, every=self.checked)
            if not objects:
                return None
            found.append((awaited, objects))
        if not self.checked:
            return [objects[0].url for _, objects in found]
        seen = digest(objects for _, objects in found)
        return None if seen == self.seen else seen


def shared_hook(aws_conn_id: str | None, region_name: str | None, verify: bool | str | None) -> S3Hook:
    """Return a hook that all triggers of a connection use together, while any of them waits.

    Making a client costs a tenth of a second, most of it under the interpreter's lock: hundreds of triggers that each
    made one, in threads side by side, would stall the event loop for seconds.
    """
    from tradewind.amazon.s3.hooks import S3Hook

    key = (os.getpid(), aws_conn_id, region_name, verify, int(time.time() // SHARED_SECONDS))
    with _making:
        hook = _hooks.get(key)
        if hook is None:
            hook = S3Hook(aws_conn_id, region_name=region_name, verify=verify, config=POLL_CONFIG)
            hook.get_conn()
            _hooks[key] = hook
        return hook
