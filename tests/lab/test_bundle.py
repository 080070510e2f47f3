"""A bundle carries results to another database whole, and notices when it was changed on the way."""

from __future__ import annotations

import json
import random
import resource
import uuid
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from microflow.errors import InputError, MicroflowError
from microflow.lab.bundle import export_bundle, import_bundle
from microflow.lab.experiment import Matrix
from microflow.lab.results import Results, run_matrix
from microflow.lab.trials import Arm
from microflow.store.database import create_database, drop_database
from microflow.store.experiments import ExperimentStore

pytestmark = pytest.mark.database
MATRIX = Matrix("bundled", (Arm("one", "builtins:dict", {"samples": [0.1, 1 / 3], "note": "ε ≥ 0"}),), blocks=2)


@pytest.fixture
def elsewhere(database_url: str) -> Iterator[ExperimentStore]:
    """An empty database on the same server."""
    name = f"microflow_test_{uuid.uuid4().hex[:12]}"
    with ExperimentStore(create_database(database_url, name)) as store:
        yield store
    drop_database(database_url, name)


def test_results_are_the_same_elsewhere(database_url: str, elsewhere: ExperimentStore, tmp_path: Path) -> None:
    """Every trial arrives once with its raw samples, however often it is imported, and equal data give equal bytes."""
    with ExperimentStore(database_url) as here:
        run_matrix(MATRIX, here)
        trials = export_bundle(here, tmp_path / "one.zip")
        export_bundle(here, tmp_path / "two.zip")
        assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
        assert import_bundle(elsewhere, tmp_path / "one.zip") == trials
        assert import_bundle(elsewhere, tmp_path / "one.zip") == 0
        assert Results.read(MATRIX, elsewhere).trials == Results.read(MATRIX, here).trials


def test_a_changed_bundle_is_refused(database_url: str, elsewhere: ExperimentStore, tmp_path: Path) -> None:
    """One other number in a trial, and nothing of that file is recorded; text is no bundle at all."""
    with ExperimentStore(database_url) as here:
        run_matrix(MATRIX, here)
        export_bundle(here, tmp_path / "good.zip")
    with zipfile.ZipFile(tmp_path / "good.zip") as good, zipfile.ZipFile(tmp_path / "bad.zip", "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            bad.writestr(name, content.replace(b"0.1", b"0.2") if name.startswith("trials/bundled") else content)
    with pytest.raises(InputError, match="not the file that was described"):
        import_bundle(elsewhere, tmp_path / "bad.zip")
    assert elsewhere.trials("bundled").empty
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InputError, match="not a results bundle"):
        import_bundle(elsewhere, tmp_path / "text.zip")


LINE = {
    "config": {}, "config_hash": "a" * 64, "git": "c0ffee", "seed": 1, "versions": {}, "samples": {"samples": [1.0]},
    "machine": {
        "cpu_model": "x", "cores": 2, "memory_bytes": 1, "governor": None, "kernel": "k", "python": "3",
        "libraries": {}, "commit": None, "dirty": None,
    },
    "metrics": {
        "result": {}, "load_before": 0.0, "load_after": 0.0,
        "usage": {"wall_s": 1.0, "cpu_s": 1.0, "peak_rss_bytes": 1, "rss_before_bytes": 1},
    },
}  # fmt: skip
GOOD = json.dumps(LINE)


def bundle_of(path: Path, files: dict[str, bytes], described: object = None) -> Path:
    """A bundle of these files, whose metadata describe them truly, or as told."""
    parts = [{"@id": name, "@type": "File", "sha256": sha256(data).hexdigest()} for name, data in files.items()]
    metadata = {"@graph": parts} if described is None else described
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        archive.writestr("ro-crate-metadata.json", text)
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def lines(*changes: dict[str, object]) -> dict[str, bytes]:
    """A good trial, then one with each of the changes."""
    trials = [LINE, *({**LINE, "config_hash": "b" * 64, **change} for change in changes)]
    return {"trials/made.jsonl": "\n".join(json.dumps(one) for one in trials).encode()}


HOSTILE = {
    "wrong type": (lines({"seed": "one"}), None),
    "a seed beyond 64 bits": (lines({"seed": 10**30}), None),
    "samples that are text": (lines({"samples": {"samples": ["fast"]}}), None),
    "samples that are no list": (lines({"samples": {"samples": 3}}), None),
    "a machine without cores": (lines({"machine": {"cpu_model": "x"}}), None),
    "metrics without usage": (lines({"metrics": {"result": {}}}), None),
    "a hash that is none": (lines({"config_hash": "zz"}), None),
    "a field too many": (lines({"drop": "table"}), None),
    "a commit with a zero byte": (lines({"git": "a\0b"}), None),
    "text of JSON's nested depth": ({"trials/made.jsonl": b"[" * 100_000}, None),
    "not JSON": ({"trials/made.jsonl": (GOOD + "\n{").encode()}, None),
    "not text": ({"trials/made.jsonl": GOOD.encode() + b"\n\xff\xfe"}, None),
    "path traversal": ({"../../escaped.jsonl": GOOD.encode()}, None),
    "an absolute path": ({"/tmp/escaped.jsonl": GOOD.encode()}, None),
    "a folder too deep": ({"trials/a/b.jsonl": GOOD.encode()}, None),
    "a missing member": ({}, {"@graph": [{"@id": "trials/made.jsonl", "@type": "File", "sha256": "0"}]}),
    "a member that nothing describes": ({"trials/made.jsonl": GOOD.encode()}, {"@graph": []}),
    "metadata of another form": ({}, [1, 2]),
    "metadata without a graph": ({}, {"graph": []}),
    "metadata that are no JSON": ({}, "{"),
    "a graph of texts": ({}, {"@graph": ["File"]}),
    "a zip bomb": ({"trials/made.jsonl": b" " * 60_000_000}, None),
    "one endless line": ({"trials/made.jsonl": random.Random(1).randbytes(5_000_000).hex().encode()}, None),
}  # fmt: skip


@pytest.fixture(scope="module")
def empty(database_url: str) -> Iterator[ExperimentStore]:
    """A database that stays empty, because everything is refused."""
    name = f"microflow_test_{uuid.uuid4().hex[:12]}"
    with ExperimentStore(create_database(database_url, name)) as store:
        yield store
    drop_database(database_url, name)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_bundle_is_one_line_and_leaves_nothing(kind: str, empty: ExperimentStore, tmp_path: Path) -> None:
    """One clear error of ours, a single line, by the command; no trial of the bundle stays; memory is bounded."""
    path = bundle_of(tmp_path / "hostile.zip", *HOSTILE[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MicroflowError) as refused:
        import_bundle(empty, path)
    assert "\n" not in refused.value.message
    assert empty.experiments() == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert not (tmp_path.parent / "escaped.jsonl").exists()


@pytest.mark.parametrize("size", [0, 10, 200, -30])
def test_a_truncated_bundle_is_refused(size: int, empty: ExperimentStore, tmp_path: Path) -> None:
    """Cut anywhere, the archive is no archive."""
    whole = bundle_of(tmp_path / "whole.zip", lines()).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:size])
    with pytest.raises(InputError, match="not a results bundle"):
        import_bundle(empty, tmp_path / "cut.zip")


def test_a_good_bundle_made_by_hand_is_taken(elsewhere: ExperimentStore, tmp_path: Path) -> None:
    """What the hostile ones are made from is good: the refusals are theirs."""
    assert import_bundle(elsewhere, bundle_of(tmp_path / "good.zip", lines({}))) == 2


def test_the_published_recording_can_still_be_read(elsewhere: ExperimentStore) -> None:
    """Every trial that was published arrives, whatever its matrices are today."""
    recording = Path(__file__).resolve().parents[2] / "data" / "paper.zip"
    with zipfile.ZipFile(recording) as archive:
        held = sum(archive.read(name).count(b"\n") for name in archive.namelist() if name.startswith("trials/"))
    assert import_bundle(elsewhere, recording) == held


def test_a_bundle_says_how_it_came_about(database_url: str, tmp_path: Path) -> None:
    """An RO-Crate's root has what the specification asks for; code, machine and time of the trials are in it."""
    with ExperimentStore(database_url) as here:
        run_matrix(MATRIX, here)
        export_bundle(here, tmp_path / "one.zip")
        commits = {commit for name in here.experiments() for commit in here.trials(name)["git"]}
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        graph = {one["@id"]: one for one in json.loads(archive.read("ro-crate-metadata.json"))["@graph"]}
    root, action, software = graph["./"], graph["#measurement"], graph["#microflow"]
    assert {"name", "description", "datePublished", "license"} <= root.keys()
    assert action["result"] == root["hasPart"]
    assert action["instrument"] == {"@id": "#microflow"}
    assert action["startTime"] <= action["endTime"]
    assert action["endTime"].startswith(root["datePublished"])
    assert set(software["version"].split(", ")) == commits
