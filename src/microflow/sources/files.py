"""Inputs as a list of files to open: a file, a folder, a pattern, standard input or an object store.

Compression is known by the suffix (``.gz``, ``.zst``); ``-`` is standard input; ``scheme://`` goes to fsspec, whose
driver for the scheme must be installed (s3fs for ``s3://`` and the like). Spreadsheets and tables of a database are
read as the CSV that `microflow.sources.tables` makes of them.
"""

from __future__ import annotations

import glob
import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from microflow.errors import InputError
from microflow.sources.tables import address_parts, is_database, is_table, table_text

__all__ = [
    "FORMATS", "STANDARD", "Identity", "compression_of", "files_of", "format_of", "identity_of", "input_format",
    "is_folder", "is_url", "opened", "packed", "part_name", "readable", "remote",
]  # fmt: skip

#: What stands for standard input and output on the command line.
STANDARD = "-"
#: Suffix to format.
FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".data": "csv",
    ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
}  # fmt: skip
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}

#: What tells one state of a file from another: device, inode, bytes, nanoseconds of the last change of its content and
#: of its entry (the first can be set to what it was, the second cannot).
Identity = tuple[int, int, int, int, int]


def is_url(place: Path | str) -> bool:
    """True if the place is an address that fsspec opens.

    >>> is_url("memory://people.csv"), is_url("people.csv")
    (True, False)
    """
    return "://" in str(place)


def is_folder(place: Path | str) -> bool:
    """True if an output is a folder of parts: it ends with a slash.

    >>> is_folder("safe/"), is_folder("safe.csv")
    (True, False)
    """
    return str(place).endswith("/")


def part_name(folder: Path | str, source: str) -> str:
    """The name of a folder's parts but for their numbers; their format is that of the folder's name, or the input's.

    >>> part_name("safe.csv.gz/", "visits.parquet"), part_name("safe/", "visits.tsv.zst")
    ('part.csv.gz', 'part.csv')
    """
    bare, compressed = _suffixes(folder)
    return f"part{bare}{compressed}" if bare in FORMATS else f"part.{format_of(source)}"


def _suffixes(place: Path | str) -> tuple[str, str]:
    """The suffix of the format and that of the compression, each in small letters or empty."""
    name = Path(str(place).rstrip("/")).name
    compressed = suffix if (suffix := Path(name).suffix.lower()) in _COMPRESSED else ""
    return Path(name[: len(name) - len(compressed)]).suffix.lower(), compressed


def compression_of(place: Path | str) -> str | None:
    """``gzip`` or ``zstd`` by the suffix, ``None`` for a plain file."""
    return _COMPRESSED.get(_suffixes(place)[1])


def format_of(place: Path | str) -> str:
    """``csv``, ``parquet`` or ``jsonl``, by the suffix before any ``.gz`` or ``.zst``; standard input is CSV.

    Raises:
        InputError: the suffix is none we know.
    """
    if str(place) == STANDARD:
        return "csv"
    suffix, compressed = _suffixes(place)
    if suffix not in FORMATS or (compressed and FORMATS[suffix] == "parquet"):
        known = f"known are: {', '.join(FORMATS)}, and .gz or .zst after a text format"
        raise InputError("no format is known by this suffix", path=place, hint=known)
    return FORMATS[suffix]


def input_format(place: Path | str) -> str:
    """The format that an input is read as: that of `format_of`, and ``csv`` of a spreadsheet or a database.

    Raises:
        InputError: the suffix is none we know.
    """
    return "csv" if is_table(place) else format_of(place)


def files_of(place: Path | str) -> list[str]:
    """The files behind a place in the order of their names: itself, those of a folder, or those a pattern matches.

    Hidden files (``.`` or ``_`` first) of a folder are passed over: other programs leave marks of their own there.

    Raises:
        InputError: nothing is there.
    """
    text = str(place)
    if is_database(text):
        address_parts(text)  # refuses one that cannot be used before anything is recorded
    elif is_url(text):
        return _remote_files(text)
    elif text != STANDARD and Path(text).is_dir():
        found = sorted(str(file) for file in Path(text).iterdir() if file.is_file() and file.name[0] not in "._")
        if not found:
            raise InputError("the folder holds no file", path=place, hint="give a file, or a folder of files")
        return found
    elif not os.path.lexists(text) and glob.has_magic(text):
        matched = sorted(file for file in glob.glob(text) if Path(file).is_file())  # noqa: PTH207 - a pattern may be absolute
        if not matched:
            raise InputError("no file matches", path=place)
        return matched
    return [text]


def _remote_files(url: str) -> list[str]:
    system, path = remote(url)
    scheme = url.partition("://")[0]
    with readable(url):
        if glob.has_magic(path):
            found = system.glob(path)
        elif system.isdir(path):
            found = [file for file in system.ls(path, detail=False) if Path(file).name[0] not in "._"]
        else:
            found = [path]
    if not found:
        raise InputError("no file matches", path=url)
    return sorted(f"{scheme}://{file.lstrip('/') if scheme != 'file' else file}" for file in found)


def remote(url: str) -> tuple[Any, str]:
    """The file system of an address (fsspec), and the path on it.

    Raises:
        InputError: fsspec or the driver for this scheme is missing.
    """
    scheme = url.partition("://")[0]
    try:
        import fsspec

        return cast("tuple[Any, str]", fsspec.core.url_to_fs(url))
    except (ImportError, ValueError) as error:
        hint = f"install what opens {scheme} addresses for fsspec (s3fs for s3, gcsfs for gs, adlfs for az)"
        raise InputError(f"nothing here can open {scheme}:// addresses", path=url, hint=hint) from error


@contextmanager
def readable(place: Path | str) -> Iterator[None]:
    """Block in which an error in a file's bytes becomes one line that names the file.

    Raises:
        InputError: the system refuses, or the file is broken; its hint says what to do.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # what gzip and Zstandard raise
            raise _broken(place, error) from error
        raise InputError(f"cannot be read: {error.strerror or 'it is damaged'}", path=place) from error
    except (EOFError, zlib.error, pa.ArrowException) as error:
        raise _broken(place, error) from error


def _broken(place: Path | str, error: Exception) -> InputError:
    kind = compression_of(place)
    if "too much memory" in str(error):  # a Zstandard frame says how much the reader must hold
        hint = "compress it with a window of at most 128 MiB: zstd without --long and --ultra"
        return InputError(f"the {kind} file asks for too much memory", path=place, hint=hint)
    what = "is broken or cut short" if kind is None or isinstance(error, EOFError) else f"is a broken {kind} file"
    return InputError(f"the file {what}", path=place, hint="was it copied completely?")


@contextmanager
def opened(place: str, sheet: str = "") -> Iterator[IO[bytes]]:
    """The bytes of one file as they are before compression; of a spreadsheet, this ``sheet`` as CSV.

    Raises:
        InputError: it is not compressed as its suffix says.
        OSError: the system refuses.
    """
    if is_table(place):
        with table_text(place, sheet) as file:
            yield file
        return
    compression = compression_of(place)
    with packed(place) as file:
        if compression is None:
            yield file
            return
        magic = _MAGIC[compression]
        head = file.peek(len(magic))[: len(magic)] if hasattr(file, "peek") else magic
        if head != magic:
            raise InputError(f"the file is a broken {compression} file", path=place)
        if compression == "gzip":
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=file))
        else:
            stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
            yield cast("IO[bytes]", io.BufferedReader(cast("Any", stream)))  # Arrow's own streams have no lines


@contextmanager
def packed(place: str) -> Iterator[IO[bytes]]:
    """The bytes of one file as they are stored."""
    if place == STANDARD:
        yield sys.stdin.buffer
    elif is_url(place):
        system, path = remote(place)
        with system.open(path, "rb") as file:
            yield file
    else:
        with Path(place).open("rb") as file:
            yield file


def identity_of(place: str) -> Identity | None:
    """Present identity of a file; ``None`` if it cannot be read again (standard input, object stores).

    Raises:
        InputError: the file cannot be read.
    """
    if place == STANDARD or is_url(place):
        return None
    with readable(place):
        found = Path(place).stat()
    if stat.S_ISDIR(found.st_mode):
        raise InputError("this is a directory", path=place, hint="give a file")
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
