"""The local S3 server's process: moto's application, with buckets that are saved in a folder.

``python -m tradewind.local.s3_process PORT FOLDER``
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from tradewind.local.s3_store import IN_MEMORY, Store, clear_spool, raise_file_limit

INTERVAL = 5.0
"""Seconds between two savings."""


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


def main() -> int:
    """Serve until SIGTERM; save then, and at intervals."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
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
    server = make_server("127.0.0.1", port, DomainDispatcherApplication(create_backend_app), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while not stopping.wait(INTERVAL):
        save(store)
    server.shutdown()
    return 0 if save(store) else 1


if __name__ == "__main__":
    sys.exit(main())
