"""Bundle of results in one file: a reader draws every figure from it and runs nothing.

A bundle is a zip archive in the form of an RO-Crate (1.1): ``ro-crate-metadata.json`` describes it, holds the SHA-256
of every other file and says by which commits, on which machines and when it came about; ``trials/<experiment>.jsonl``
has a line for each current trial with its configuration, raw samples, machine, versions, commit and seed. Numbers
survive the way exactly (JSON writes the shortest text that reads back as the same number).
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pandas as pd

from microflow import __version__
from microflow.errors import InputError
from microflow.lab.launch import Machine
from microflow.lab.results import series_of
from microflow.sinks.whole_file import WholeFile, refused_as
from microflow.store.experiments import ExperimentStore

__all__ = ["export_bundle", "import_bundle"]

_RO = "https://w3id.org/ro/crate"
_METADATA = "ro-crate-metadata.json"
_KEPT = ("config", "config_hash", "metrics", "machine", "versions", "git", "seed")
#: The archive's own dates say nothing: equal databases give equal bundles.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_HINT = "microflow experiments export makes one"
_TRIALS = re.compile(r"trials/[a-z0-9][a-z0-9_-]{0,62}\.jsonl")
#: Bounds of what is believed of a file from outside, in bytes; recorded samples shrink to about a sixth.
_MOST_METADATA, _MOST_LINE, _MOST_FILE, _MOST_RATIO, _PIECE = 2**23, 2**23, 2**28, 100, 2**20
#: Letters of somebody else's text in a message.
_SAID = 120

_Number = Annotated[float, msgspec.Meta(ge=-1.7e308, le=1.7e308)]
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$", max_length=200)]


class _Part(msgspec.Struct):
    """An entity of the metadata, as far as it is read."""

    id: str = msgspec.field(name="@id")
    type: str | list[str] = msgspec.field(name="@type")
    sha256: str = ""


class _Crate(msgspec.Struct):
    graph: list[_Part] = msgspec.field(name="@graph")


class _Usage(msgspec.Struct):
    wall_s: _Number
    cpu_s: _Number
    peak_rss_bytes: int
    rss_before_bytes: int


class _Metrics(msgspec.Struct):
    result: dict[str, Any]
    load_before: _Number
    load_after: _Number
    usage: _Usage


class _TrialLine(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a bundle: exactly what `ExperimentStore.record_new` takes."""

    config: dict[str, Any]
    config_hash: _Hash
    metrics: _Metrics
    machine: dict[str, Any]
    versions: dict[str, str]
    git: _Name
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    samples: dict[_Name, list[_Number]]


def export_bundle(store: ExperimentStore, path: Path) -> int:
    """Write all current trials to ``path`` and return how many there are."""
    tables = {name: store.trials(name) for name in store.experiments()}
    tables = {name: table for name, table in tables.items() if not table.empty}
    files = {
        f"trials/{name}.jsonl": "".join(
            f"{json.dumps(trial, sort_keys=True)}\n" for trial in _trials(store, name)
        ).encode()
        for name in tables
    }
    with (
        refused_as(path),
        WholeFile(path) as whole,
        zipfile.ZipFile(whole.file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, content in {_METADATA: _crate(files, list(tables.values())), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return sum(map(len, tables.values()))


def import_bundle(store: ExperimentStore, path: Path) -> int:
    """Record the bundle's trials that the database does not hold yet, in one transaction; returns how many.

    A bundle comes from outside: every file in it is described, named and hashed before any of it is read as data, every
    trial is checked field by field, and memory holds one trial at a time. A bundle that is refused leaves nothing.

    Raises:
        InputError: not a bundle, a file in it is not the one that was described, or a trial is not one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            files = _described(archive, path)
            for name, digest in files.items():
                _require_digest(archive, name, digest, path)
            return store.record_new(
                (Path(name).stem, trial) for name in files for trial in _read_trials(archive, name, path)
            )
    except (OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        # Besides damage: an encrypted member (RuntimeError) and an unusual compression (NotImplementedError).
        raise InputError(f"not a results bundle: {_reason(error)}", path=path, hint=_HINT) from error


def _reason(error: Exception) -> str:
    text = str(error).strip("'\" ").splitlines()
    return text[0][:_SAID] if text and text[0] else type(error).__name__


def _described(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """Name to SHA-256 of every file that the metadata describe; the archive holds these and nothing else."""
    names = [entry.filename for entry in archive.infolist()]
    if _METADATA not in names:
        raise InputError(f"not a results bundle: it has no {_METADATA}", path=path, hint=_HINT)
    with archive.open(_METADATA) as stream:
        text = stream.read(_MOST_METADATA + 1)
    if len(text) > _MOST_METADATA:
        raise InputError(f"{_METADATA} is larger than {_MOST_METADATA:,} bytes", path=path, hint=_HINT)
    try:
        crate = msgspec.json.decode(text, type=_Crate)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{_METADATA}: {_reason(error)}", path=path, hint=_HINT) from error
    files = [part for part in crate.graph if part.type == "File"]
    for part in files:
        if not _TRIALS.fullmatch(part.id):
            raise InputError(f"a file is described that has no place in a bundle: {part.id[:_SAID]!r}", path=path)
        if part.id not in names:
            raise InputError(f"{part.id} is described and not there", path=path, hint="the bundle is not whole")
    described = {part.id: part.sha256 for part in files}
    if len(names) != len(set(names)) or set(names) - described.keys() - {_METADATA} or len(described) < len(files):
        raise InputError("the archive holds files that its metadata do not describe, or one twice", path=path)
    return described


def _require_digest(archive: zipfile.ZipFile, name: str, digest: str, path: Path) -> None:
    """Read a file piece by piece; what it unpacks to is counted, not believed."""
    found, size = hashlib.sha256(), 0
    packed = archive.getinfo(name).compress_size
    with archive.open(name) as stream:
        while piece := stream.read(_PIECE):
            found.update(piece)
            size += len(piece)
            if size > _MOST_FILE or size > _PIECE + packed * _MOST_RATIO:
                raise InputError(
                    f"{name} unpacks to more than {size:,} bytes from {packed:,}", path=path, hint="not a recording"
                )
    if found.hexdigest() != digest:
        raise InputError(f"{name} is not the file that was described", path=path, hint="fetch the bundle again")


def _read_trials(archive: zipfile.ZipFile, name: str, path: Path) -> Iterator[dict[str, Any]]:
    decoder = msgspec.json.Decoder(_TrialLine)
    with archive.open(name) as stream:
        number = 0
        while line := stream.readline(_MOST_LINE + 1):
            number += 1
            if len(line) > _MOST_LINE:
                raise InputError(f"{name}: a trial of more than {_MOST_LINE:,} bytes", path=path, line=number)
            try:
                trial = decoder.decode(line)
                msgspec.convert(trial.machine, Machine)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                raise InputError(f"{name}: {_reason(error)}", path=path, line=number, hint=_HINT) from error
            yield msgspec.structs.asdict(trial) | {"metrics": msgspec.to_builtins(trial.metrics)}


def _trials(store: ExperimentStore, experiment: str) -> Iterator[dict[str, Any]]:
    series = series_of(store, experiment)
    for row in store.trials(experiment).to_dict("records"):
        yield {name: row[name] for name in _KEPT} | {"samples": series.get(row["trial_id"], {})}


def _crate(files: Mapping[str, bytes], tables: Sequence[pd.DataFrame]) -> bytes:
    parts = [
        {
            "@id": name,
            "@type": "File",
            "encodingFormat": "application/jsonl",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for name, content in files.items()
    ]
    named = [{"@id": name} for name in files]
    about = {"@id": _METADATA, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": {"@id": f"{_RO}/1.1"}}
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Results of Microflow {__version__}",
        "description": "Every current trial with its configuration, raw samples, machine, versions, commit and seed.",
        "license": {"@id": "https://spdx.org/licenses/Apache-2.0"},
        "hasPart": named,
    }
    graph = [about, root, *parts]
    if tables:
        root["datePublished"], made = _made(tables, named)
        graph += made
    return json.dumps({"@context": f"{_RO}/1.1/context", "@graph": graph}, indent=2).encode()


def _made(tables: Sequence[pd.DataFrame], result: list[dict[str, str]]) -> tuple[str, list[dict[str, Any]]]:
    """The day of the last trial, and how all of them came about: which code ran on what, from when until when."""
    times = sorted(instant for table in tables for instant in table["created_at"])
    commits = sorted({commit for table in tables for commit in table["git"]})
    machines = sorted(
        {
            f"{machine['cores']} cores of {machine['cpu_model']}, {machine['kernel']}"
            for table in tables
            for machine in table["machine"]
        }
    )
    software = {"@id": "#microflow", "@type": "SoftwareApplication", "name": "Microflow", "version": ", ".join(commits)}
    action = {
        "@id": "#measurement",
        "@type": "CreateAction",
        "name": "microflow experiments run",
        "description": f"Measured on {'; '.join(machines)}",
        "startTime": times[0].isoformat(),
        "endTime": times[-1].isoformat(),
        "instrument": {"@id": "#microflow"},
        "result": result,
    }
    return times[-1].date().isoformat(), [software, action]
