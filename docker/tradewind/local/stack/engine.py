"""A local Amazon MWAA environment in containers: web server, scheduler, workers, and what they need beside them."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from tradewind.local.crashes import RESTARTS
from tradewind.local.engine import Engine
from tradewind.local.errors import LocalError, StartFailed
from tradewind.local.push import Push
from tradewind.local.s3 import client
from tradewind.local.stack import compose, images, keeping, layout, sizes
from tradewind.local.stack.access import Access
from tradewind.local.stack.channel import Channel
from tradewind.local.stack.compose import Compose, Found
from tradewind.local.stack.forward import Forward
from tradewind.local.stack.reaper import Reaper
from tradewind.local.stack.scaling import QUIET
from tradewind.local.stack.services import chosen
from tradewind.local.stack.updates import Updates, objects
from tradewind.local.stack.workers import LOG_LINES, SERVICE, Autoscaler, Containers
from tradewind.local.state import State, write_private
from tradewind.local.sync import Sync
from tradewind.local.versions import DEFAULT

LOOK = 1.0
"""Seconds between two looks at the containers."""
SECONDS_TO_STOP = 10


class Stack(Engine):
    """One environment of containers, for one folder.

    :param path: the user's folder, see :class:`tradewind.local.project.Project`
    :param state: the state folder, ``.tradewind`` in the user's folder when None
    :param airflow: the Airflow version, see :data:`tradewind.local.versions.VERSIONS`
    :param port: the web UI's port; the last one used or a free one when None
    :param constraints: a constraints file for the images and the user's requirements
    :param options: Airflow configuration options with dotted keys, as MWAA takes them
    :param tell: called with a line (or several) for each thing worth telling
    :param progress: called with what is going on while it starts, whenever that changes
    :param workers: a fixed number of workers; or
    :param min_workers: how many there are at least, 1 when None
    :param max_workers: how many there are at most; up to 10, as many as the machine bears, when None
    :param environment_class: MWAA's name of the size, see :data:`tradewind.local.stack.sizes.CLASSES`
    :param broker: what carries tasks to the workers, see :data:`.services.BROKERS`
    :param services: the names of services that are there on demand alone, see :data:`.services.OPTIONAL`
    :param update: MWAA's worker replacement strategy, see :data:`tradewind.local.stack.updates.STRATEGIES`
    :param web_access: MWAA's web server access mode, see :data:`tradewind.local.stack.access.MODES`
    :param routing: whether there is a way out, see :meth:`tradewind.local.stack.access.Access.of`
    :param base: the image to build from; Python's own when None
    :param bare: see :class:`tradewind.local.engine.Engine`
    """

    patience = 900.0  # MWAA's limits for startup.sh and requirements.txt are within it

    def __init__(
        self,
        path: Path,
        state: Path | None = None,
        airflow: str = DEFAULT,
        *,
        port: int | None = None,
        constraints: Path | None = None,
        options: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda line: None,
        progress: Callable[[str], None] = lambda line: None,
        workers: int | None = None,
        min_workers: int | None = None,
        max_workers: int | None = None,
        environment_class: str | None = None,
        broker: str = "redis",
        services: Iterable[str] = (),
        update: str = "forced",
        web_access: str = "PUBLIC_ONLY",
        routing: str | None = None,
        base: str | None = None,
        bare: bool = False,
    ) -> None:
        super().__init__(
            path,
            state,
            airflow,
            port=port,
            constraints=constraints,
            options=options,
            bare=bare,
            tell=tell,
            progress=progress,
        )
        self.plan = sizes.plan(
            environment_class, workers=workers, minimum=min_workers, maximum=max_workers, options=self._options
        )
        self.services = chosen(broker, services)
        self.most = self.plan.maximum or self.plan.minimum
        """Workers at most, known when it is started."""
        self.folder = self.state.folder / "docker"
        self.project_name = project_name(self.state)
        self._base = base
        self._access = Access.of(web_access, routing)
        web_private = self._access.web_private
        self._compose = Compose(self.project_name, self.folder / "compose.env", web_private=web_private)
        self._channel = Channel(self.project_name)
        self._workers = Containers(self._compose, self._channel, self._keep_worker)
        self._scaler: Autoscaler | None = None
        self._updates = Updates(
            self._compose,
            Compose(self.project_name, self.folder / "update.env", web_private=web_private),
            self._workers,
            self.plan.services,
            self.plan.minimum,
            look=lambda: objects(client(self.s3_endpoint), self.bucket),
            retire=self._retire if update == "graceful" else None,
            turn=lambda: self._forwards["web"].turn(),
            reason=self._reason,
            keep=lambda name, text: write_private(self.log(name), text),
            tell=tell,
            stopping=self._stopping,
            patience=self.patience,
        )
        self._reaper: Reaper | None = None
        self._sync: Sync | None = None
        self._forwards: dict[str, Forward] = {}
        self._sick: set[str] = set()

    @property
    def s3_endpoint(self) -> str:
        """The address of the local S3 server, on this machine."""
        return f"http://127.0.0.1:{self._forwards['aws'].port}"

    @property
    def warehouse_dsn(self) -> str:
        """The address of the database ``warehouse``, its password in it: never log it."""
        return self.services.warehouse_dsn(self._passwords, {name: at.port for name, at in self._forwards.items()})

    @property
    def beside(self) -> dict[str, str]:
        """The address of MariaDB, where it is there, its password in it: never log it."""
        return self.services.beside(self._passwords, {name: at.port for name, at in self._forwards.items()})

    @property
    def size(self) -> dict[str, object]:
        """Class, workers, tasks of each, its limits (the machine's where it has fewer), and the services on demand."""
        return {
            "class": self.plan.size.name,
            "min_workers": self.plan.minimum,
            "max_workers": self.most,
            "tasks_per_worker": self.plan.slots,
            "cpus": min(self.plan.size.worker.cpus, self._machine.cpus),
            "memory": self.plan.size.worker.memory,
            "broker": self.services.broker,
            "with": list(self.services.optional),
        }

    @property
    def alive(self) -> bool:
        """Whether there is anything to stop."""
        return self._reaper is not None

    def start(self) -> Self:
        """Build the images where they are missing, start the containers; return before they are ready.

        :raises LocalError: one of its kinds, with the reason; nothing is left running then
        """
        compose.check()
        self._machine = compose.machine()
        self.most = self.plan.most(self._machine)
        self.state.open()
        try:
            compose.clear(self.project_name)  # of one that was killed together with who would have cleared it
            self._secrets = self.state.secrets()
            self._port = self._choose_port()
            self._passwords = keeping.lay_out(self.folder, self.services, self._secrets, self._options)
            for name in (*self.plan.services, "update"):  # of single containers of the last time
                for old in self.state.logs.glob(f"{name}-*.log"):
                    old.unlink()
            for warning in self.plan.warnings(self._machine):
                self._tell(warning)
            self._build()
            self._reaper = Reaper(self.project_name, self.state.lock_descriptor)
            self.state.announce(self._facts())  # so that it can be ended from elsewhere while it starts
            self._progress("starting PostgreSQL, broker and S3")
            self._compose.up(*self.services.names)
            self._open_bucket()
            self._updates.pin(self._variables)
            self._progress("starting Airflow's containers")
            self._compose.up(*self.plan.services)
            self._watcher = threading.Thread(target=self._watch, name="tradewind-watch", daemon=True)
            self._watcher.start()
            self.state.announce(self._facts())
        except BaseException:
            self.stop()
            raise
        return self

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait as every engine does; from then on the workers follow the load."""
        super().wait_ready(timeout)
        self._updates.start()
        if self.plan.size.hybrid:
            return
        self._scaler = Autoscaler(
            self._workers,
            self.plan.slots,
            self.plan.minimum,
            self.most,
            quiet=float(os.environ.get("TRADEWIND_SCALE_IN_SECONDS") or QUIET),
            tell=self._tell,
            changed=lambda: self.state.announce(self._facts()),
        )
        self._scaler.start()

    def stop(self) -> None:
        """Stop everything; no container, network or volume is left, what was written lies in the state folder."""
        self._stopping.set()
        if self._sync is not None:
            self._sync.stop()
        if self._scaler is not None:
            self._scaler.stop()
        self._updates.join(2 * compose.TIMEOUT)
        self._channel.close()
        if self._watcher is not None:
            self._watcher.join(30)
        if self._reaper is not None:
            try:
                self._keep_logs()
                compose.clear(self.project_name, grace=SECONDS_TO_STOP)
            finally:
                for forward in self._forwards.values():
                    forward.close()
                self._reaper.close()  # tries again what failed
                self._reaper = None
        self.state.retire()
        self.state.close()

    def _build(self) -> None:
        found = images.prepare(self.version, self._base, self._constraints, self._tell, bare=self._bare)
        self._variables = {
            **found.variables(),
            "TRADEWIND_DATA": str(self.folder),
            "TRADEWIND_PORT": str(self._port),
            compose.PUBLISHED: str(self._port),
            **self._access.variables(),
            **self.plan.variables(self._machine),
            **self.services.variables(self.plan.profile),
            "TRADEWIND_STARTUP_LIMIT": os.environ.get("TRADEWIND_STARTUP_LIMIT", ""),
        }
        self._compose.write(self._variables)
        if not all(map(compose.image_exists, self.services.images(found))):
            self._tell(f"building the images of Airflow {self.version.airflow} (kept for the next time)")
            self._compose.build(self._progress)
            compose.forget_old_images()

    def _open_bucket(self) -> None:
        """Make a way to the private network and bring the bucket up to date."""
        self._forwards = {at[0]: Forward(self.project_name, *at) for at in self.services.reached}
        public = not self._access.web_private
        self._forwards["web"] = Forward(self.project_name, *layout.WEB, published=public, number=self._port)
        s3, deadline = client(self.s3_endpoint), time.monotonic() + self.patience
        while True:
            try:
                s3.list_buckets()
                break
            except Exception as error:  # a server that is just starting fails in many ways
                found = [each for each in compose.containers(self.project_name) if each.service == "aws"]
                if time.monotonic() > deadline or not any(each.running for each in found):
                    raise StartFailed(f"S3 does not answer: {error}\n{self._last_lines('aws')}") from error
                time.sleep(0.3)
        push = Push(self.project, self.folder / "sync.json", s3, self.bucket)
        self._sync = Sync(push, None, self._tell)
        self._sync.prepare()
        self._sync.start()

    def _missing(self, health: Mapping[str, Mapping[str, str | None]]) -> list[str]:
        """Return the parts that are not ready yet."""
        parts = [name for name, facts in health.items() if facts.get("status") is not None]
        missing = [name for name in parts if health[name]["status"] != "healthy"] if health else ["webserver"]
        working = self.plan.working
        well = [each.service for each in compose.containers(self.project_name) if each.healthy]
        missing += [name for name in self.services.optional if name not in well]
        return missing + [working] * (self.plan.minimum - well.count(working))

    def _last_lines(self, name: str, lines: int = 15) -> str:
        service = name if name in (*compose.SERVICES, *self.plan.services) else self.plan.services[1]
        try:
            found = [each for each in compose.containers(self.project_name) if each.service == service]
        except LocalError as error:
            return str(error)
        return self._lines_of(found[0], lines) if found else f"there is no container {service}"

    def _watch(self) -> None:
        """See a container end: put another in its place, or give up. See one fall ill, and tell."""
        while not self._stopping.wait(LOOK):
            try:
                found = compose.containers(self.project_name)
                for each in found:
                    self._look_at(each)
                if not found and not self._stopping.is_set():
                    self._fail("the containers were removed: start again")
            except LocalError as error:
                if not self._stopping.is_set():
                    self._fail(f"Docker does not answer: {error}")

    def _look_at(self, found: Found) -> None:
        if self._stopping.is_set():
            return
        if found.id in self._workers.ended or self._updates.concerns(found):
            return
        if not found.running:
            self._ended(found)
        elif "(unhealthy)" in found.status and found.id not in self._sick:
            self._sick.add(found.id)
            self._tell(f"{found.service} ({found.id[:12]}) is not well: {compose.illness(found.id)}")
        elif found.healthy and found.id in self._sick:
            self._sick.remove(found.id)
            self._tell(f"{found.service} ({found.id[:12]}) is well again")

    def _ended(self, found: Found) -> None:
        """Replace a container, as MWAA does: the new one has another name and nothing of the old one."""
        each = self.most if found.service == SERVICE else 1  # a fault of one is no fault of the others
        if not self._count_crash(found.service, self._reason(found), each * RESTARTS):
            return
        if found.service == SERVICE:
            self._workers.replace(found)
            return
        compose.docker("rm", "--force", "--volumes", found.id)
        self._compose.up(found.service)
        self._forwards["web"].turn()

    def _reason(self, found: Found) -> str:
        """Return why a container ended: what it says itself, or its last lines."""
        lines = self._lines_of(found)
        _, failed, reason = lines.rpartition(layout.FAILED)
        return reason.strip() if failed else f"{found.service} {_describe(found.exit_status)}, its last lines:\n{lines}"

    def _retire(self, ids: list[str], seconds: float) -> None:
        if self._scaler is not None:  # where it is None the one container works and schedules, and is replaced at once
            self._scaler.retire(ids, seconds)

    def _lines_of(self, found: Found, lines: int = 60) -> str:
        """Return the last lines of a container, from its own reason on where it gives one."""
        text = compose.logs(found.id, 400)
        before, mark, reason = text.rpartition(layout.FAILED)
        return mark + reason if mark else "\n".join(before.splitlines()[-lines:] or text.splitlines()[-lines:])

    def _keep_logs(self) -> None:
        """Keep what the containers wrote, beside what the embedded engine keeps."""
        texts: dict[str, str] = {}
        for each in compose.containers(self.project_name):
            texts[each.service] = texts.get(each.service, "") + compose.logs(each.id, LOG_LINES)
        for service, text in texts.items():
            write_private(self.log(service), text)

    def _keep_worker(self, host: str, text: str) -> None:
        write_private(self.log(f"worker-{host}"), text)

    def _facts(self) -> dict[str, object]:
        """Return what `status` in another terminal needs to know."""
        return {
            "engine": "docker",
            "project": self.project_name,
            "path": str(self.project.folder),
            "airflow": self.version.airflow,
            "web": self.web_url,
            "s3": self.s3_endpoint if self._forwards else "",
            "bucket": self.bucket,
            "components": {},
            **self.size,
            "draining": [id[:12] for id in self._scaler.draining] if self._scaler is not None else [],
        }


def project_name(state: State) -> str:
    """Return the name of the Compose project of a state folder."""
    return f"tradewind-{hashlib.sha256(str(state.folder).encode()).hexdigest()[:10]}"


def _describe(status: int) -> str:
    return "ended with SIGKILL" if status == 137 else f"ended with status {status}"
