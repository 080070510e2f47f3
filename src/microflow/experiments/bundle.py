"""Results as one file: a reader draws every figure from it and runs nothing.

A bundle is a zip archive in the form of an RO-Crate (1.1): ``ro-crate-metadata.json`` describes it and holds the
SHA-256 of every other file; ``trials/<experiment>.jsonl`` has a line for each current trial with its configuration,
raw samples, machine, versions, commit and seed. Numbers survive the way exactly (JSON writes the shortest text that
reads back as the same number).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microflow import __version__
from microflow.errors import InputError
from microflow.experiments.results import series_of
from microflow.store.experiments import ExperimentStore

__all__ = ["export_bundle", "import_bundle"]

_METADATA = "ro-crate-metadata.json"
_KEPT = ("config", "config_hash", "metrics", "machine", "versions", "git", "seed")
#: The archive's own dates say nothing: equal databases give equal bundles.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def export_bundle(store: ExperimentStore, path: Path) -> int:
    """Write all current trials to ``path`` and return how many there are."""
    files, trials = {}, 0
    for experiment in store.experiments():
        lines = [json.dumps(one, sort_keys=True) for one in _trials(store, experiment)]
        trials += len(lines)
        files[f"trials/{experiment}.jsonl"] = "".join(f"{line}\n" for line in lines).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {_METADATA: _crate(files), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return trials


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


def _crate(files: dict[str, bytes]) -> bytes:
    named = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    parts = [
        {"@id": name, "@type": "File", "encodingFormat": "application/jsonl", "sha256": digest}
        for name, digest in named.items()
    ]
    conforms = {"@id": "https://w3id.org/ro/crate/1.1"}
    about = {"@id": _METADATA, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": conforms}
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Results of Microflow {__version__}",
        "hasPart": [{"@id": name} for name in named],
    }
    document = {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [about, root, *parts]}
    return json.dumps(document, indent=2).encode()


def _verified(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            described = json.loads(archive.read(_METADATA))["@graph"]
            for part in described:
                if part["@type"] != "File":
                    continue
                content = archive.read(part["@id"])
                if hashlib.sha256(content).hexdigest() != part["sha256"]:
                    raise InputError(f"{part['@id']} is not the file that was described", path=path)
                yield part["@id"], content
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError("not a results bundle", path=path, hint="microflow experiments export makes one") from error
