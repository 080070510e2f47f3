"""Results as one file: a reader draws every figure from it and runs nothing.

A bundle is a zip archive in the form of an RO-Crate (1.1): ``ro-crate-metadata.json`` describes it, holds the SHA-256
of every other file and says by which commits, on which machines and when it came about; ``trials/<experiment>.jsonl``
has a line for each current trial with its configuration, raw samples, machine, versions, commit and seed. Numbers
survive the way exactly (JSON writes the shortest text that reads back as the same number).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from microflow import __version__
from microflow.errors import InputError
from microflow.experiments.results import series_of
from microflow.store.experiments import ExperimentStore

__all__ = ["export_bundle", "import_bundle"]

_RO = "https://w3id.org/ro/crate"
_METADATA = "ro-crate-metadata.json"
_KEPT = ("config", "config_hash", "metrics", "machine", "versions", "git", "seed")
#: The archive's own dates say nothing: equal databases give equal bundles.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def export_bundle(store: ExperimentStore, path: Path) -> int:
    """Write all current trials to ``path`` and return how many there are."""
    tables = {name: store.trials(name) for name in store.experiments()}
    tables = {name: table for name, table in tables.items() if not table.empty}
    files = {
        f"trials/{name}.jsonl": "".join(f"{json.dumps(one, sort_keys=True)}\n" for one in _trials(store, name)).encode()
        for name in tables
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {_METADATA: _crate(files, list(tables.values())), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return sum(map(len, tables.values()))


def import_bundle(store: ExperimentStore, path: Path) -> int:
    """Record the bundle's trials that the database does not hold yet; returns how many.

    Raises:
        InputError: not a bundle, or a file in it is not the one that was described.
    """
    recorded = 0
    for name, content in _verified(path):
        experiment = Path(name).stem
        held = set(store.trials(experiment)["config_hash"])
        for line in content.decode().splitlines():
            trial = json.loads(line)
            if trial["config_hash"] not in held:
                store.record_trial(experiment, **trial)
                recorded += 1
    return recorded


def _trials(store: ExperimentStore, experiment: str) -> Iterator[dict[str, Any]]:
    series = series_of(store, experiment)
    for row in store.trials(experiment).to_dict("records"):
        yield {name: row[name] for name in _KEPT} | {"samples": series.get(row["trial_id"], {})}


def _crate(files: Mapping[str, bytes], tables: Sequence[pd.DataFrame]) -> bytes:
    parts = [
        {"@id": name, "@type": "File", "encodingFormat": "application/jsonl", "sha256": _digest(content)}
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
        {f"{one['cores']} cores of {one['cpu_model']}, {one['kernel']}" for table in tables for one in table["machine"]}
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


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _verified(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            described = json.loads(archive.read(_METADATA))["@graph"]
            for part in described:
                if part["@type"] != "File":
                    continue
                content = archive.read(part["@id"])
                if _digest(content) != part["sha256"]:
                    raise InputError(f"{part['@id']} is not the file that was described", path=path)
                yield part["@id"], content
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError("not a results bundle", path=path, hint="microflow experiments export makes one") from error
