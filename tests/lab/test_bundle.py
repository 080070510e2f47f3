"""A bundle carries results to another database whole, and notices when it was changed on the way."""

from __future__ import annotations

import json
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from microflow.errors import InputError
from microflow.experiments.bundle import export_bundle, import_bundle
from microflow.experiments.matrix import Matrix
from microflow.experiments.results import Results
from microflow.experiments.runner import run_matrix
from microflow.store.experiments import ExperimentStore
from microflow.store.server import create_database, drop_database
from microflow.timing.trials import Arm

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
