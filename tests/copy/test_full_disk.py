"""A full disk of the worker: the error names the folder, and nothing of the file is left."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import require
from tradewind.hooks.errors import TransientError
from tradewind.operators.files.local_storage import LocalStorage

MEGABYTE = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Return a folder whose disk has one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        require("a small disk", f"a tmpfs cannot be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_file_that_does_not_fit(small: Path, compression: str | None) -> None:
    block = random.Random(5).randbytes(MEGABYTE)
    sink = LocalStorage().write(str(small / "a.csv"), token="t", compression=compression)

    def fill() -> None:
        for _ in range(4):
            sink.write(block)
        sink.commit()

    with pytest.raises(TransientError) as told:
        fill()

    assert f"write {small}/a.csv: no space left in {small}, whose disk has 1.0 MB" in str(told.value)
    assert "free some, or name a folder on a larger disk" in str(told.value)
    sink.abort()
    assert list(small.iterdir()) == []
    sink = LocalStorage().write(str(small / "b.csv"), token="t")
    sink.write(b"a,b\n")
    sink.commit()
    assert (small / "b.csv").read_bytes() == b"a,b\n"
