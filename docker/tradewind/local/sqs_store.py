"""What keeps the messages of one SQS queue over the end of the local AWS server: a file each, at each change."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any


class SqsStore:
    """The messages of a queue that is made before anybody asks for it.

    What is received and not deleted stays with who received it, who may delete it after the restart.

    :param folder: where they lie, made when missing
    :param name: the queue's name
    :param visibility: seconds until a message that was received and not deleted is handed out again
    """

    def __init__(self, folder: Path, name: str, visibility: int) -> None:
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.sqs.models import sqs_backends

        from tradewind.local.s3 import REGION

        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        backend = sqs_backends[DEFAULT_ACCOUNT_ID][REGION]
        self._queue: Any = backend.create_queue(name, VisibilityTimeout=visibility)
        self._saved: dict[str, str] = {}

    def restore(self) -> None:
        """Bring back what was saved, in the order in which it was sent."""
        from moto.sqs.models import Message

        texts = {path.stem: path.read_text() for path in self._folder.glob("*.json")}
        found = sorted((json.loads(text) for text in texts.values()), key=lambda each: each["sent_timestamp"])
        for each in found:
            message = Message(each["id"], each["body"])
            vars(message).update(each)
            self._queue._messages.append(message)
        self._saved = texts

    def save(self) -> None:
        """Write what changed since the last time.

        :raises OSError: when the disk is full; what was saved before stays valid
        """
        now = {message.id: json.dumps(vars(message)) for message in self._queue._messages}
        for id, text in now.items():
            if self._saved.get(id) != text:
                new = self._folder / f"{id}.new"
                new.write_text(text)
                new.replace(self._folder / f"{id}.json")
                self._saved[id] = text
        for id in self._saved.keys() - now.keys():
            with contextlib.suppress(FileNotFoundError):
                (self._folder / f"{id}.json").unlink()
            del self._saved[id]
