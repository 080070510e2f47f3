"""Where rows come from: a file, a folder, a pattern, standard input or an object store, as a list of files to open.

Compression is told by the suffix (``.gz``, ``.zst``); ``-`` is standard input; ``scheme://`` goes to fsspec, whose
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from microflow.errors import InputError
from microflow.sources.tables import is_database, is_table, require_address, table_text

__all__ = [
    "FORMATS",
    "STANDARD",
    "Identity",
    "compression_of",
    "files_of",
    "format_of",
    "identity_of",
    "input_format",
    "is_folder",
    "is_url",
    "opened",
    "packed",
    "part_name",
    "remove",
    "written_to",
]

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

#: What tells one state of a file from another: device, inode, bytes, nanoseconds of the last change.
Identity = tuple[int, int, int, int]


def is_url(place: Path | str) -> bool:
    """Whether fsspec is to open it.

    >>> is_url("memory://people.csv"), is_url("people.csv")
    (True, False)
    """
    return "://" in str(place)


def is_folder(place: Path | str) -> bool:
    """Whether an output is to be a folder of parts: it ends with a slash.

    >>> is_folder("safe/"), is_folder("safe.csv")
    (True, False)
    """
    return str(place).endswith("/")


def part_name(folder: Path | str, source: str) -> str:
    """The name of a folder's parts but for their numbers; their format is that of the folder's name, or the input's.

    >>> part_name("safe.csv.gz/", "visits.parquet"), part_name("safe/", "visits.tsv.zst")
    ('part.csv.gz', 'part.csv')
    """
    name = Path(str(folder).rstrip("/")).name
    packed = Path(name).suffix if compression_of(name) else ""
    suffix = Path(name.removesuffix(packed)).suffix
    return f"part{suffix}{packed}" if suffix.lower() in FORMATS else f"part.{format_of(source)}"


def compression_of(place: Path | str) -> str | None:
    """``gzip`` or ``zstd`` by the suffix, ``None`` for a plain file."""
    return _COMPRESSED.get(Path(str(place)).suffix.lower())


def format_of(place: Path | str) -> str:
    """``csv``, ``parquet`` or ``jsonl``, by the suffix before any ``.gz`` or ``.zst``; standard input is CSV.

    Raises:
        InputError: the suffix is none we know.
    """
    if str(place) == STANDARD:
        return "csv"
    name = Path(str(place).rstrip("/")).name
    packed = compression_of(name)
    suffix = Path(name[: name.rindex(".")] if packed else name).suffix.lower()
    if suffix not in FORMATS or (packed and FORMATS[suffix] == "parquet"):
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
    if text == STANDARD:
        return [text]
    if is_database(text):
        require_address(text)
        return [text]
    if is_url(text):
        return _remote_files(text)
    if Path(text).is_dir():
        found = sorted(str(one) for one in Path(text).iterdir() if one.is_file() and one.name[0] not in "._")
        if not found:
            raise InputError("the folder holds no file", path=place, hint="give a file, or a folder of files")
        return found
    if not os.path.lexists(text) and glob.has_magic(text):
        matched = sorted(one for one in glob.glob(text) if Path(one).is_file())  # noqa: PTH207 - a pattern may be absolute
        if not matched:
            raise InputError("no file matches", path=place)
        return matched
    return [text]


def _remote_files(url: str) -> list[str]:
    system, path = _remote(url)
    scheme = url.partition("://")[0]
    try:
        if glob.has_magic(path):
            found = system.glob(path)
        elif system.isdir(path):
            found = [one for one in system.ls(path, detail=False) if Path(one).name[0] not in "._"]
        else:
            found = [path]
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or type(error).__name__}", path=url) from error
    if not found:
        raise InputError("no file matches", path=url)
    return sorted(f"{scheme}://{one.lstrip('/') if scheme != 'file' else one}" for one in found)


def _remote(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path on it.

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
def opened(place: str) -> Iterator[IO[bytes]]:
    """The bytes of one file as they are before compression.

    Raises:
        InputError: it is a directory, is not there, or is not compressed as its suffix says.
    """
    if is_table(place):
        with table_text(place) as file:
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
        system, path = _remote(place)
        with system.open(path, "rb") as file:
            yield file
    else:
        with Path(place).open("rb") as file:
            yield file


@contextmanager
def written_to(url: str) -> Iterator[IO[bytes]]:
    """A file at an address; object stores show it once it is closed.

    Raises:
        InputError: nothing here can open such addresses, or the store refuses.
    """
    system, path = _remote(url)
    try:
        with system.open(path, "wb") as file:
            yield file
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or type(error).__name__}", path=url) from error


def remove(url: str, beginning: str) -> None:
    """Remove the files of a folder at an address whose names begin so."""
    system, path = _remote(url)
    if system.isdir(path):
        for found in system.ls(path, detail=False):
            if Path(found).name.startswith(beginning):
                system.rm_file(found)


def identity_of(place: str) -> Identity | None:
    """What the system says a file is now; ``None`` where it cannot be asked again (standard input, object stores).

    Raises:
        InputError: the file cannot be read.
    """
    if place == STANDARD or is_url(place):
        return None
    try:
        found = Path(place).stat()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=place) from error
    if stat.S_ISDIR(found.st_mode):
        raise InputError("this is a directory", path=place, hint="give a file")
    return None if not stat.S_ISREG(found.st_mode) else (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
