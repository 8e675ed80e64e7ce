"""A random sample of each proof; ``python -m tests.proofs`` runs them at length (docs/proofs.md)."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fix_mysql import program as mysql_program
from tests.proofs.fault import Breaker
from tests.proofs.kill import Killer
from tests.proofs.matrix import CYCLE, HOUSES, MANY, PAIRS, SETS, Cell, warehouses
from tests.proofs.scenes import SCENES, Load, Unload
from tests.proofs.servers import Servers, open_servers
from tests.proofs.submit import open_submitter
from tests.proofs.twin import Twinner
from tests.services import require, snowflake
from tests.stage import Stage

Scene = Load | Unload


@pytest.fixture(scope="module")
def seed() -> int:
    """Return a seed for this run, which is printed where a test fails."""
    made = secrets.randbelow(10**6)
    print(f"seed {made}")
    return made


@pytest.fixture
def scene(stage: Stage, flights_file: Path) -> Iterator[Callable[[str], Scene]]:
    """Return a function that sets up one kind of copy."""
    made: list[Scene] = []

    def make(name: str) -> Scene:
        made.append(SCENES[name](stage, flights_file))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def house(seed: int) -> str:
    """Choose a copy with a warehouse at one end."""
    chosen = random.Random(seed).choice(HOUSES)
    if "snowflake" in chosen and snowflake() is None:
        require("snowflake", "no uv to make its environment")
    return chosen


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, house: str) -> Iterator[Servers]:
    """Start servers that may be broken."""
    if mysql_program() is None:
        require("mysql", "no mariadbd or mysqld: install mariadb-server-core")
    folder = tmp_path_factory.mktemp("breakable")
    folder.chmod(0o711)  # PostgreSQL may run as another user
    with open_servers(folder, warehouses([house])) as made:
        yield made


def test_a_sample_of_the_kill_matrix(servers: Servers, tmp_path: Path, seed: int) -> None:
    """Two cells, one of which has an end of each database, broken in each way that they can meet."""
    choose = random.Random(seed)
    both = [name for name in PAIRS if name.startswith(("postgres-mysql", "mysql-postgres"))]
    files = [name for name in PAIRS if "s3" in name]

    wrong = []
    for name, most in ((choose.choice(both), 3), (choose.choice(files), 2)):
        with closing(Cell(servers, name, tmp_path, seed, rows=4000)) as cell:
            wanted = dict.fromkeys(kind for kind, _ in zip(cell.kinds, range(len(CYCLE)), strict=False))
            done = [cell.broken(kind, 1) for kind in list(wanted)[-most:]]
        wrong += [f"{name}, {each}" for each in done if each.problems]

    assert wrong == [], f"seed {seed}"


@pytest.mark.parametrize("names", [SETS, MANY], ids=["a set", "many files"])
def test_sets_and_many_files_survive_a_sample_of_breaks(
    servers: Servers, tmp_path: Path, seed: int, names: list[str]
) -> None:
    name = random.Random(seed).choice(names)

    with closing(Cell(servers, name, tmp_path, seed, rows=18_000 if names is SETS else 4000)) as cell:
        done = [cell.broken(kind, 1) for kind in ("process", "s3", "twin")]

    assert [f"{name}, {each}" for each in done if each.problems] == [], f"seed {seed}"


def test_a_copy_with_a_warehouse_survives_a_sample_of_breaks(
    servers: Servers, house: str, tmp_path: Path, seed: int
) -> None:
    with closing(Cell(servers, house, tmp_path, seed, rows=4000)) as cell:
        done = [cell.broken(kind, 1) for kind in ("process", "database", "twin")]

    assert [f"{house}, {each}" for each in done if each.problems] == [], f"seed {seed}"


@pytest.mark.parametrize(("name", "count"), [("append", 5), ("unload", 5), ("merge", 2), ("replace", 2)])
def test_a_killed_try_leaves_nothing_and_its_retry_completes(
    scene: Callable[[str], Scene], name: str, count: int, tmp_path: Path, seed: int
) -> None:
    killer = Killer(scene(name), tmp_path, seed)

    killed = [killer.kill(number) for number in range(1, count + 1)]

    assert [each.row() for each in killed if each.problems] == [], f"seed {seed}"


@pytest.mark.parametrize(("name", "count"), [("append", 3), ("unload", 3), ("merge", 2), ("replace", 2)])
def test_two_tries_at_once_do_the_work_once(
    scene: Callable[[str], Scene], name: str, count: int, tmp_path: Path, seed: int
) -> None:
    twinner = Twinner(scene(name), tmp_path, seed)

    twins = [twinner.twins(number) for number in range(1, count + 1)]

    assert [each.row() for each in twins if each.problems] == [], f"seed {seed}"


@pytest.mark.parametrize("name", ["append", "unload"])
def test_a_copy_through_a_bad_network_ends_right(
    scene: Callable[[str], Scene], name: str, tmp_path: Path, seed: int
) -> None:
    breaker = Breaker(scene(name), tmp_path, seed)

    runs = [breaker.run(number) for number in range(1, 4)]

    assert [each.row() for each in runs if each.problems] == [], f"seed {seed}"


@pytest.mark.parametrize("service", ["ours", "snowflake"])
def test_a_sample_of_submitting_once(tmp_path: Path, seed: int, service: str) -> None:
    if service == "snowflake" and snowflake() is None:
        require("snowflake", "no uv to make its environment")
    with open_submitter(tmp_path, seed, service) as submitter:
        done = [submitter.run(number) for number in range(1, 5)]

    assert [each.row() for each in done if each.problems] == []
    assert any(each.kills for each in done)
