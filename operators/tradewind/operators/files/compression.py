"""Compressed streams, in bounded memory: gzip, bz2, xz by the standard library, zstd by ``zstandard``."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

from tradewind.hooks.errors import DataError, InvalidArgument

ENDINGS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".xz": "xz"}
COMPRESSIONS = ("gzip", "zstd", "bz2", "xz")
INFER = "infer"

GZIP_LEVEL = 2
"""Measured on the CSV of a year of flights, 31 MB: level 2 takes 0.25 s for 9.7 MB, level 6 1.32 s for 8.3 MB."""

ZSTD_LEVEL = 3

PLAIN_CHUNK = 512 * 1024
"""Bytes of plain text made at once at most, so that a small file cannot fill the memory."""

_ZSTD_SLICE = 32 * 1024
_GZIP_WBITS = 31  # zlib: a gzip header and trailer; its time stamp is 0, so the same text gives the same bytes


class Compressor(Protocol):
    """An engine of the kind that zlib and bz2 have."""

    def compress(self, data: bytes, /) -> bytes:
        """Take plain bytes, return what is compressed by now."""

    def flush(self) -> bytes:
        """Return the rest."""


def check_compression(compression: str | None) -> None:
    """Refuse what is no compression.

    :raises InvalidArgument: with those that are
    """
    if compression is not None and compression not in (INFER, *COMPRESSIONS):
        choices = ", ".join((INFER, *COMPRESSIONS))
        raise InvalidArgument(f"compression must be one of {choices} or None, not {compression!r}")


def infer(compression: str | None, key: str) -> str | None:
    """Decide on the compression of an object.

    :param compression: what the user said; ``infer`` goes by the key's ending
    """
    check_compression(compression)
    if compression != INFER:
        return compression
    return next((name for ending, name in ENDINGS.items() if key.lower().endswith(ending)), None)


def compressor(compression: str) -> Compressor:
    """Make the engine that compresses; the same text always gives the same bytes."""
    if compression == "gzip":
        return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WBITS)
    if compression == "bz2":
        return bz2.BZ2Compressor()
    if compression == "xz":
        return lzma.LZMACompressor()
    engine: Compressor = _zstandard().ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()
    return engine


def decompressed(chunks: Iterator[bytes], compression: str | None, name: str) -> Iterator[bytes]:
    """Yield plain bytes, of one member or frame after the other.

    :param chunks: the bytes as they are stored
    :param name: the file, for messages
    :raises DataError: where the file is damaged or ends too early
    """
    if compression is None:
        yield from chunks
        return
    error: tuple[type[Exception], ...] = (zlib.error, lzma.LZMAError, EOFError)
    if compression == "zstd":
        error = (*error, _zstandard().ZstdError)
    engines = {"gzip": _gunzip, "zstd": _unzstd}
    plain = engines[compression](chunks) if compression in engines else _unpacked(chunks, compression)
    try:
        yield from plain
    except error as fault:
        raise DataError(f"{name} is no whole {compression} file: {fault}", source=name) from fault


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    engine: Any = None
    first = True
    for data in chunks:
        while data:
            if engine is None:
                data = data if first else data.lstrip(b"\0")  # padding may follow a member
                if not data:
                    break
                engine = zlib.decompressobj(_GZIP_WBITS)
                first = False
            if plain := engine.decompress(data, PLAIN_CHUNK):
                yield plain
            data = engine.unused_data if engine.eof else engine.unconsumed_tail
            engine = None if engine.eof else engine
    if engine is not None:
        if rest := engine.flush():
            yield rest
        if not engine.eof:
            raise EOFError("it is cut off")


def _unpacked(chunks: Iterator[bytes], compression: str) -> Iterator[bytes]:
    make: Any = bz2.BZ2Decompressor if compression == "bz2" else lzma.LZMADecompressor
    engine: Any = None
    for data in chunks:
        while data or (engine is not None and not engine.needs_input):
            engine = engine or make()
            try:
                plain = engine.decompress(data, PLAIN_CHUNK)
            except OSError as error:  # bz2's word for damage
                raise EOFError(str(error)) from error
            if plain:
                yield plain
            data = engine.unused_data if engine.eof else b""
            engine = None if engine.eof else engine
    if engine is not None:
        raise EOFError("it is cut off")


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    context = _zstandard().ZstdDecompressor()
    engine: Any = None
    for chunk in chunks:
        for start in range(0, len(chunk), _ZSTD_SLICE):  # this engine knows no limit of its output
            data = chunk[start : start + _ZSTD_SLICE]
            while data:
                engine = engine or context.decompressobj()
                if plain := engine.decompress(data):
                    yield plain
                data = engine.unused_data if engine.eof else b""
                engine = None if engine.eof else engine
    if engine is not None:
        raise EOFError("it is cut off")


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise InvalidArgument("zstd needs the package zstandard: install tradewind[zstd], or use gzip") from error
    return zstandard
