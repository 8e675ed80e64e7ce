"""The local AWS server's process: moto's application, whose S3 buckets are saved in a folder.

What else moto has (SQS, STS, IAM, Step Functions, Redshift Data ...) answers at the same port, and is loaded when it is
first asked for; it is forgotten at the end.

``python -m tradewind.local.s3_process PORT FOLDER [ADDRESS [FOLDER QUEUE SECONDS]]``: the last three are of an SQS
queue whose messages are kept, the last its visibility time-out.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tradewind.local import aws_services
from tradewind.local.s3_store import IN_MEMORY, Store, clear_spool, raise_file_limit
from tradewind.local.sqs_store import SqsStore

INTERVAL = 5.0
"""Seconds between two savings."""
PATIENCE = 5.0
"""Seconds that a request has to end when the server does."""
UNCOLLECTED = 16 << 20
"""Bytes of bodies after which garbage is collected."""


def save(store: Store) -> bool:
    """Save, and say why where it is not possible."""
    try:
        store.save()
    except OSError as error:
        print(f"the buckets were not saved: {error}", file=sys.stderr, flush=True)
        return False
    return True


def answer_missing_uploads() -> None:
    """Answer NoSuchUpload, as S3 does, where a multipart upload was aborted or completed: moto answers 500."""
    from moto.s3.exceptions import NoSuchUpload
    from moto.s3.models import FakeBucket

    class Uploads(dict[str, Any]):
        def __missing__(self, upload_id: str) -> Any:
            raise NoSuchUpload(upload_id=upload_id)

    original = FakeBucket.__init__

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        self.multiparts = Uploads()

    FakeBucket.__init__ = init  # type: ignore[method-assign]


class Ending:
    """Lets requests end that have begun, and begins no other, so that nothing is answered that is not saved.

    :param app: the WSGI application
    """

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self._running = 0
        self._ends = False
        self._changed = threading.Condition()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request; 503, which every client of AWS tries again, once the server is ending."""
        with self._changed:
            if self._ends:
                start_response("503 Service Unavailable", [("Content-Length", "0"), ("Connection", "close")])
                return []
            self._running += 1
        try:
            return self._app(environ, start_response)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def end(self, timeout: float) -> None:
        """Begin no request any more, and wait for the end of those that run.

        :param timeout: seconds
        """
        with self._changed:
            self._ends = True
            self._changed.wait_for(lambda: not self._running, timeout)


class Collecting:
    """Collects garbage as bodies come in: moto's requests refer to each other in circles, bodies of 8 MB and all.

    Python counts objects, not bytes: measured, twenty such bodies waited for its collector.

    :param app: the WSGI application
    """

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self._bytes = 0
        gc.collect()
        gc.freeze()  # what the application consists of need not be looked at again

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if self._bytes >= UNCOLLECTED:
            self._bytes = 0
            gc.collect()
        self._bytes += int(environ.get("CONTENT_LENGTH") or 0)
        return self._app(environ, start_response)


def main() -> int:
    """Serve until SIGTERM; save then, and at intervals."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    address = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    raise_file_limit()
    tempfile.tempdir = str(clear_spool(folder))
    os.environ["MOTO_S3_DEFAULT_KEY_BUFFER_SIZE"] = str(IN_MEMORY)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    answer_missing_uploads()
    store = Store(folder)
    store.restore()
    messages = len(sys.argv) > 4
    if messages:  # there from the first request on
        kept = SqsStore(Path(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
        kept.restore()
        aws_services.keep_messages_whole(kept.save)
    app = Ending(Collecting(DomainDispatcherApplication(create_backend_app)))
    server = make_server(address, port, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    aws_services.run_state_machines(port)  # loads what nobody who wants S3 should wait for
    if not messages:
        aws_services.keep_messages_whole()
    while not stopping.wait(INTERVAL):
        save(store)
    app.end(PATIENCE)
    server.shutdown()
    return 0 if save(store) else 1


if __name__ == "__main__":
    sys.exit(main())
