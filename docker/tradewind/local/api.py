"""A small client for Airflow's REST API: ``/api/v2`` on Airflow 3, ``/api/v1`` on Airflow 2."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from tradewind.local.errors import LocalError

DONE = ("success", "failed")


class ApiError(LocalError):
    """An answer that is not the one asked for.

    :param status: the HTTP status
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """The REST API of one Airflow, logged in.

    :param web_url: the address of the web UI
    :param major: Airflow's major version, 2 or 3
    :param user: who logs in
    :param password: with which password
    :param timeout: seconds for each call
    """

    def __init__(self, web_url: str, major: int, user: str, password: str, timeout: float = 30.0) -> None:
        self.web_url = web_url
        self.major = major
        self.base = f"{web_url}/api/v{major - 1}"
        self.timeout = timeout
        self._user = user
        self._password = password
        self._authorization = ""

    def get(self, path: str, **query: Any) -> Any:
        """GET a path below ``/api/vN``, like ``/dags``."""
        return self.call("GET", path + (f"?{urlencode(query)}" if query else ""))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST a JSON body."""
        return self.call("POST", path, body or {})

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """PATCH with a JSON body."""
        return self.call("PATCH", path, body)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Make one call, logging in before the first and again when the login ran out.

        :return: the decoded JSON, None for an empty answer
        :raises ApiError: for any status that is not a success
        :raises OSError: when the server cannot be reached
        """
        if not self._authorization:
            self._authorization = self._login()
        try:
            return self._send(method, self.base + path, body)
        except ApiError as error:
            if error.status != 401:
                raise
        self._authorization = self._login()
        return self._send(method, self.base + path, body)

    def _login(self) -> str:
        if self.major == 2:
            return "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        self._authorization = ""
        answer = self._send("POST", f"{self.web_url}/auth/token", {"username": self._user, "password": self._password})
        return f"Bearer {answer['access_token']}"

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._authorization:
            headers["Authorization"] = self._authorization
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - our own address
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=self.timeout) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                detail = error.read().decode(errors="replace")[:500]
            raise ApiError(f"{method} {url} answered {error.code}: {detail}", error.code) from None
        return json.loads(text) if text else None

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's runs start."""
        self.patch(f"/dags/{quote(dag_id)}", {"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run of a DAG.

        :param conf: the run's configuration
        :param run_id: its name, chosen by Airflow when None
        :return: the run's id
        """
        body: dict[str, Any] = {"conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        if self.major == 3:
            body["logical_date"] = None
        return str(self.post(f"/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return one run."""
        answer: dict[str, Any] = self.get(self._run(dag_id, run_id))
        return answer

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all task instances of a run, mapped ones each."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(self._run(dag_id, run_id) + "/taskInstances", limit=100, offset=len(found))
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return what a task left, None when it left nothing."""
        query: dict[str, Any] = {"map_index": map_index, "stringify": "false"}
        path = f"{self._run(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}"
        try:
            return self.get(path, **query)["value"]
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def import_errors(self) -> list[dict[str, Any]]:
        """Return the DAG files that cannot be imported, and why."""
        answer: list[dict[str, Any]] = self.get("/importErrors", limit=100)["import_errors"]
        return answer

    def wait_run(self, dag_id: str, run_id: str, timeout: float, interval: float = 0.2) -> str:
        """Wait until a run is done; a server that does not answer for a while is asked again.

        :param timeout: seconds
        :return: ``success`` or ``failed``
        :raises LocalError: when the time is over
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                state = str(self.run(dag_id, run_id)["state"])
            except OSError as error:
                state = f"not known ({error})"
            if state in DONE:
                return state
            if time.monotonic() > deadline:
                raise LocalError(f"run {run_id} of {dag_id} is {state} after {timeout:.0f} s")
            time.sleep(interval)

    def _run(self, dag_id: str, run_id: str) -> str:
        return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"
