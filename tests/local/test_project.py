"""The user's folder and the way of its files into the bucket and into Airflow's folder."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tradewind.local.archive import unpack
from tradewind.local.errors import InvalidInput
from tradewind.local.project import Project, pack
from tradewind.local.pull import Pull, listing
from tradewind.local.push import Push
from tradewind.local.s3 import S3Server
from tradewind.local.stack.updates import objects
from tradewind.local.state import State
from tradewind.local.sync import Sync

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "mwaa-local"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


class Scene:
    """A project, its bucket, Airflow's folder, and a sync between them."""

    def __init__(self, folder: Path, client: S3Client, bucket: str) -> None:
        self.folder = folder
        self.dags = folder / "dags"
        self.client = client
        self.bucket = bucket
        self.told: list[str] = []
        self.updates: list[str] = []
        self.installed = threading.Event()
        self.installed.set()
        self.state = State(folder / ".tradewind")
        self.state.open()
        self.sync = self.make()

    def make(self) -> Sync:
        push = Push(Project(self.folder), self.state.folder / "sync.json", self.client, self.bucket)
        pull = Pull(self.state, self.client, self.bucket, self.told.append)
        self.sync = Sync(push, pull, self.told.append, self.update)
        return self.sync

    def update(self, what: str, found: dict[str, str]) -> bool:
        """Stand in for the environment, which takes what changed unless its requirements cannot be installed."""
        self.updates.append(what)
        assert self.installed.wait(30)
        return self.get("requirements.txt") != b"broken" if "requirements.txt" in found else True

    def look(self) -> None:
        """Do what the sync's thread does once, and let an update that begins come to its end."""
        self.sync.look()
        wait_for(lambda: not (self.installed.is_set() and self.updating()))

    @staticmethod
    def updating() -> bool:
        return any(thread.name == "tradewind-update" for thread in threading.enumerate())

    def objects(self) -> dict[str, bytes]:
        listed = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {entry["Key"]: self.get(entry["Key"]) for entry in listed}

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def airflow(self) -> dict[str, str]:
        """Return what Airflow sees."""
        files = (path for path in self.state.dags.rglob("*") if path.is_file())
        return {path.relative_to(self.state.dags).as_posix(): path.read_text() for path in files}


@pytest.fixture
def scene(tmp_path: Path, server: S3Server, request: pytest.FixtureRequest) -> Iterator[Scene]:
    (tmp_path / "dags" / "sql").mkdir(parents=True)
    (tmp_path / "dags" / "one.py").write_text("one")
    (tmp_path / "dags" / "sql" / "q.sql").write_text("select 1")
    (tmp_path / "dags" / "__pycache__").mkdir()
    (tmp_path / "dags" / "__pycache__" / "one.pyc").write_text("no")
    scene = Scene(tmp_path, server.client(), f"b-{abs(hash(request.node.name)):x}"[:40])
    yield scene
    scene.sync.stop()
    scene.state.close()


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_the_folder_is_in_the_bucket_as_mwaa_wants_it_and_in_airflow(scene: Scene) -> None:
    scene.sync.prepare()

    assert scene.objects() == {"dags/one.py": b"one", "dags/sql/q.sql": b"select 1"}
    assert scene.airflow() == {"one.py": "one", "sql/q.sql": "select 1"}
    assert scene.client.get_bucket_versioning(Bucket=scene.bucket)["Status"] == "Enabled"


def test_what_is_saved_changed_and_deleted_follows_within_seconds(scene: Scene) -> None:
    scene.sync.prepare()
    scene.sync.start()

    (scene.dags / "two.py").write_text("two")
    (scene.dags / "one.py").write_text("one, longer")
    (scene.dags / "sql" / "q.sql").unlink()

    wait_for(lambda: scene.airflow() == {"one.py": "one, longer", "two.py": "two"})
    assert set(scene.objects()) == {"dags/one.py", "dags/two.py"}
    assert not (scene.state.dags / "sql").exists()


def test_an_object_put_into_the_bucket_reaches_airflow_and_goes_again(scene: Scene) -> None:
    scene.sync.prepare()
    scene.sync.start()

    scene.put("dags/deep/er/three.py", b"three")
    wait_for(lambda: scene.airflow().get("deep/er/three.py") == "three")
    scene.client.delete_object(Bucket=scene.bucket, Key="dags/deep/er/three.py")
    wait_for(lambda: "deep/er/three.py" not in scene.airflow())

    assert not (scene.state.dags / "deep").exists()
    assert not (scene.dags / "deep").exists(), "nothing is written into the user's folder"


def test_the_bucket_wins_until_the_user_saves(scene: Scene) -> None:
    scene.sync.prepare()
    scene.put("dags/one.py", b"from the bucket")
    scene.look()
    assert scene.airflow()["one.py"] == "from the bucket"

    (scene.dags / "one.py").write_text("saved after that")
    scene.look()

    assert scene.airflow()["one.py"] == "saved after that"
    assert scene.get("dags/one.py") == b"saved after that"


def test_a_file_deleted_while_nothing_ran_leaves_the_bucket_at_the_next_start(scene: Scene) -> None:
    scene.sync.prepare()
    (scene.dags / "one.py").unlink()
    (scene.dags / "sql" / "q.sql").write_text("select 2")
    scene.put("dags/other.py", b"somebody else's")

    scene.make().prepare()

    assert scene.airflow() == {"sql/q.sql": "select 2", "other.py": "somebody else's"}


def test_an_object_deleted_while_nothing_ran_is_back_for_the_file_is_there(scene: Scene) -> None:
    scene.sync.prepare()
    scene.client.delete_object(Bucket=scene.bucket, Key="dags/one.py")

    scene.make().prepare()

    assert scene.airflow()["one.py"] == "one"


def test_a_key_that_is_no_path_is_left_out_and_said_once(scene: Scene) -> None:
    scene.sync.prepare()
    scene.put("dags/../../escaped.py", b"no")
    scene.put("dags/one.py/below.py", b"no")
    scene.put("dags/good.py", b"good")

    scene.look()
    scene.look()

    assert scene.airflow() == {"one.py": "one", "sql/q.sql": "select 1", "good.py": "good"}
    assert len(scene.told) == 2
    assert not (scene.folder / "escaped.py").exists()


def test_a_project_folder_that_went_away_takes_nothing_with_it(scene: Scene) -> None:
    scene.sync.prepare()
    scene.dags.rename(scene.folder / "elsewhere")
    scene.sync.start()

    wait_for(lambda: any("is gone" in line for line in scene.told))

    assert scene.airflow() == {"one.py": "one", "sql/q.sql": "select 1"}


def test_what_airflow_reads_at_its_start_is_laid_out_and_a_change_is_told(scene: Scene) -> None:
    (scene.folder / "plugins").mkdir()
    (scene.folder / "plugins" / "mine.py").write_text("PLUGIN = 1")
    (scene.folder / "requirements.txt").write_text("six\n")
    (scene.folder / "startup.sh").write_text("export A=1\n")
    scene.make().prepare()

    assert (scene.state.plugins / "mine.py").read_text() == "PLUGIN = 1"
    assert scene.state.requirements.read_text() == "six\n"
    assert scene.state.startup.read_text() == "export A=1\n"

    (scene.folder / "plugins" / "mine.py").write_text("PLUGIN = 2")
    (scene.folder / "startup.sh").unlink()
    scene.look()
    assert scene.updates == []  # somebody may be saving several files
    for _ in range(3):
        scene.look()

    assert scene.updates == ["plugins and startup.sh"]
    assert (scene.state.plugins / "mine.py").read_text() == "PLUGIN = 1"
    scene.make().prepare()
    assert (scene.state.plugins / "mine.py").read_text() == "PLUGIN = 2"
    assert not scene.state.startup.exists()


def test_the_dags_follow_the_folder_while_an_update_takes_its_time(scene: Scene) -> None:
    scene.sync.prepare()
    scene.installed.clear()
    (scene.folder / "requirements.txt").write_text("six")
    for _ in range(3):
        scene.look()
    assert scene.updates == ["requirements.txt"]
    assert scene.updating()

    (scene.dags / "two.py").write_text("two")
    (scene.folder / "requirements.txt").write_text("seven")
    for _ in range(3):
        scene.look()

    assert scene.airflow()["two.py"] == "two"
    assert scene.updates == ["requirements.txt"]  # one at a time
    scene.installed.set()
    wait_for(lambda: not scene.updating())
    for _ in range(3):
        scene.look()
    assert scene.updates == ["requirements.txt", "requirements.txt"]


def test_an_update_that_breaks_is_told_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(what: str, found: dict[str, str]) -> bool:
        scene.updates.append(what)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scene, "update", full)
    scene.make().prepare()
    (scene.folder / "requirements.txt").write_text("six")
    for _ in range(5):
        scene.look()
    assert scene.updates == ["requirements.txt"]
    assert scene.told == ["the update of requirements.txt failed: [Errno 28] No space left on device"]


def test_an_update_that_is_refused_is_not_tried_again_before_something_changes(scene: Scene) -> None:
    requirements = scene.folder / "requirements.txt"
    requirements.write_text("six")
    scene.make().prepare()

    requirements.write_text("broken")
    for _ in range(4):
        scene.look()
    assert scene.updates == ["requirements.txt"]
    requirements.write_text("six")  # which the environment has
    for _ in range(3):
        scene.look()
    assert scene.updates == ["requirements.txt"]
    requirements.write_text("seven")
    for _ in range(3):
        scene.look()
    assert scene.updates == ["requirements.txt", "requirements.txt"]


def test_versions_that_are_asked_for_are_laid_out_and_not_the_newest(scene: Scene) -> None:
    (scene.folder / "plugins").mkdir()
    (scene.folder / "plugins" / "mine.py").write_text("PLUGIN = 1")
    (scene.folder / "startup.sh").write_text("export A=1\n")
    scene.make().prepare()
    first = {key: each.version for key, each in objects(scene.client, scene.bucket).items()}
    assert sorted(first) == ["plugins.zip", "startup.sh"]

    (scene.folder / "plugins" / "mine.py").write_text("PLUGIN = 2")
    (scene.folder / "startup.sh").unlink()
    (scene.folder / "requirements.txt").write_text("six\n")
    scene.look()
    assert sorted(objects(scene.client, scene.bucket)) == ["plugins.zip", "requirements.txt"]
    assert objects(scene.client, scene.bucket)["plugins.zip"].version != first["plugins.zip"]
    pull = Pull(scene.state, scene.client, scene.bucket, scene.told.append)
    pull.prepare(listing(scene.client, scene.bucket), first)

    assert (scene.state.plugins / "mine.py").read_text() == "PLUGIN = 1"
    assert scene.state.startup.read_text() == "export A=1\n"
    assert not scene.state.requirements.exists()


def test_the_same_plugins_are_the_same_zip(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, ("a.py", "b.py")), (second, ("b.py", "a.py"))):
        (folder / "tradewind").mkdir(parents=True)
        for name in names:
            (folder / name).write_text(name)

    assert pack(first) == pack(second)
    with zipfile.ZipFile(io.BytesIO(pack(first))) as archive:
        assert archive.read(".airflowignore") == b"tradewind/\n"


@pytest.mark.parametrize("name", ["../out.py", "/etc/out.py", "a\\b.py"])
def test_a_plugin_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")

    with pytest.raises(InvalidInput, match="points outside"):
        unpack(buffer.getvalue(), tmp_path)


def test_a_plugins_zip_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "plugins.zip").write_text("no zip")

    with pytest.raises(InvalidInput, match=r"plugins\.zip is not a zip file"):
        Project(tmp_path).plugins()


def test_links_are_followed_and_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "lib.py").write_text("lib")
    (tmp_path / "dags" / "shared").symlink_to(tmp_path / "shared")
    (tmp_path / "shared" / "round").symlink_to(tmp_path / "dags")

    assert set(Project(tmp_path).files()) == {"dags/shared/lib.py"}


def test_folders_that_are_no_project_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no folder"):
        Project(tmp_path / "missing")
    with pytest.raises(InvalidInput, match="has no folder dags"):
        Project(tmp_path)
    (tmp_path / "dags").mkdir()
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins.zip").touch()
    with pytest.raises(InvalidInput, match="keep one of them"):
        Project(tmp_path)
