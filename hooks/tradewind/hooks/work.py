"""The identity of one piece of work: who does it, and its token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Work:
    """One task instance's work, the same for every try of it.

    :param dag_id: the DAG
    :param run_id: its run
    :param task_id: the task
    :param map_index: the index of a mapped task, -1 for one that is not mapped
    :param try_number: which try this is, counted from 1; no part of the identity
    :param max_tries: raised by a person's clear, never by a retry: it tells new work from a retry
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Work:
        """Read the identity off a task's context.

        :param context: the context that Airflow hands to ``execute``
        """
        ti = context["ti"]
        return cls(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            try_number=ti.try_number,
            max_tries=ti.max_tries or 0,
        )

    def token(self, fingerprint: str, *, clears: bool = True) -> str:
        """Derive the name of this work on this input.

        It is derived, not stored, so that a retry finds what an earlier try began, with no gap between
        submitting and remembering.

        :param fingerprint: what identifies the input (ETags, the text of a statement)
        :param clears: whether a person's clear makes it new work
        :return: 64 hexadecimal digits
        """
        parts = [self.dag_id, self.run_id, self.task_id, self.map_index, fingerprint]
        if clears:
            parts.append(self.max_tries)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def __str__(self) -> str:
        mapped = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{mapped} ({self.run_id}, try {self.try_number})"
