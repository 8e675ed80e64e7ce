"""SQS as the broker of Celery's workers: kombu's transport, with an intake that can be paused and that never hangs.

kombu's own keeps a processor busy while all slots are taken, waits for ever on a connection that is dead, ends the
worker on an answer that it does not expect, and drops what it received while its consumer was cancelled: nobody has
such a message until its visibility time-out is over.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from kombu.transport import SQS
from vine import promise

try:
    import pycurl
    from kombu.asynchronous.http.curl import CurlClient
except ImportError:  # kombu 5.5, that of Airflow 3.0, asks by urllib3: its loop stands still as long as SQS waits
    from kombu.asynchronous.http.urllib3_client import Urllib3Client as CurlClient

    pycurl, WAIT, BACKOFF = None, 0, 0.5
else:
    WAIT, BACKOFF = 2, 1.0
"""Seconds that SQS waits for a message before it answers that there is none, and until it is asked again after an
answer that came too soon."""
TIMEOUT = 20
"""Seconds for one answer."""
CONNECT_TIMEOUT = 5
PAUSE = 0.1
"""Seconds until the next look whether there is room for a task."""

HASTY = {"connect_timeout": 1, "read_timeout": 5, "retries": {"total_max_attempts": 1}}

log = logging.getLogger(__name__)


@dataclass
class Intake:
    """How this worker takes tasks.

    :param paused: whether it takes none
    :param asking: requests that SQS has not answered yet: a task may come by each
    :param undeleted: messages whose task ended, and that SQS was not there to delete
    :param looked: when it last asked, or saw that it need not, by the monotonic clock
    """

    paused: bool = False
    asking: int = 0
    undeleted: set[str] = field(default_factory=set)
    looked: float = field(default_factory=time.monotonic)

    @property
    def silent(self) -> float:
        """Seconds since it last asked or was answered."""
        return time.monotonic() - self.looked


INTAKE = Intake()
"""That of this process."""


class Client(CurlClient):  # type: ignore[misc]
    """kombu's HTTP client, with time-outs, and with an end that leaves nothing behind."""

    closed = False

    def close(self) -> None:
        """Close every connection, whatever is under way."""
        if not self.closed:
            self.closed = True
            if pycurl is None:  # nothing is under way, and its own way to close fails
                self._timeout_check_tref.cancel()
                return
            self._pop_from_hub()
            self._fds.clear()
            super().close()

    def _setup_request(self, curl: Any, *arguments: Any, **named: Any) -> None:
        super()._setup_request(curl, *arguments, **named)
        if pycurl is None:  # it has them
            return
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.CONNECTTIMEOUT, CONNECT_TIMEOUT)
        curl.setopt(pycurl.TIMEOUT, TIMEOUT)

    def _timeout_check(self, *arguments: Any, **named: Any) -> None:
        if not self.closed:  # a timer that was set before
            super()._timeout_check(*arguments, **named)


class Channel(SQS.Channel):  # type: ignore[misc]
    """kombu's channel, whose requests for tasks are counted."""

    hub: Any = None
    _client: Client | None = None

    @property
    def transport_options(self) -> dict[str, Any]:
        """Return them, for a client that never has a worker's event loop wait."""
        options: dict[str, Any] = super().transport_options
        return options if self.hub is None else {**options, "client-config": HASTY}

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Delete a message whose task ended; later where SQS is away for a moment.

        As an error it would have Celery connect anew and give back the messages of tasks that are running.
        """
        try:
            super().basic_ack(delivery_tag, multiple)
        except Transport.connection_errors as error:
            if self.hub is None:
                raise
            if delivery_tag not in INTAKE.undeleted:
                INTAKE.undeleted.add(delivery_tag)
                log.warning("SQS does not answer, deleting a message later: %s", error)
            self.hub.call_later(BACKOFF, self.basic_ack, delivery_tag, multiple)
        else:
            INTAKE.undeleted.discard(delivery_tag)

    def asynsqs(self, queue: str | None = None) -> Any:
        """Return the connection on which tasks come."""
        connection = super().asynsqs(queue)
        if self._client is None:
            self._client = Client(self.hub)
        connection._httpclient = self._client
        return connection

    def basic_cancel(self, consumer_tag: str) -> Any:
        """Stop to consume: what is under way is not waited for, and SQS keeps what it would have brought."""
        found = super().basic_cancel(consumer_tag)
        if not self._active_queues and self._client is not None:
            self._client.close()
            self._client, INTAKE.asking = None, 0
        return found

    def _schedule_queue(self, queue: str) -> None:
        if queue not in self._active_queues:
            return
        INTAKE.looked = time.monotonic()
        if INTAKE.paused or not self.qos.can_consume():
            self.hub.call_later(PAUSE, self._schedule_queue, queue)
            return
        INTAKE.asking += 1
        began = time.monotonic()
        failed = promise(self._failed, (queue,))
        self._get_bulk_async(queue, callback=promise(self._answered, (queue, began), on_error=failed))

    def _on_messages_ready(self, queue: str, qname: str, messages: Any) -> bool:
        super()._on_messages_ready(queue, qname, messages)
        return bool(messages and messages.get("Messages"))

    def _answered(self, queue: str, began: float, some: Any = None) -> None:
        INTAKE.asking = max(0, INTAKE.asking - 1)
        early = not some and time.monotonic() - began <= max(WAIT / 2, PAUSE)  # SQS is not there, or does not wait
        self.hub.call_later(BACKOFF if early else 0, self._schedule_queue, queue)

    def _failed(self, queue: str, error: Any = None, *_: Any) -> None:
        INTAKE.asking = max(0, INTAKE.asking - 1)
        log.warning("SQS did not answer as it should, asking again: %s", error)
        self.hub.call_later(BACKOFF, self._schedule_queue, queue)


class Transport(SQS.Transport):  # type: ignore[misc]
    """What Celery's ``broker_transport`` names."""

    Channel = Channel
