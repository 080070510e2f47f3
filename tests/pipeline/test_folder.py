"""An output that is a folder of parts, and places that fsspec opens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow.dataset
import pytest

from microflow.errors import InputError, MicroflowError
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.store import PostgreSQLConnector
from pipeline.alike import METHODS, run

Make = Callable[..., JobSpec]


def parts_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("suffix", ["", ".parquet", ".jsonl.gz"])
@pytest.mark.parametrize("method", ["tokenization", "k_anonymity", "microflow"])
def test_parts_do_not_depend_on_who_writes_them(
    a_job: Make, visits: Path, tmp_path: Path, method: str, suffix: str
) -> None:
    """One process and two workers: the same parts, which hold what a single file would."""
    answers = []
    for workers in (1, 2):
        folder = tmp_path / f"{workers}{suffix}"
        job = a_job(input=visits, method=METHODS[method], output=f"{folder}/", workers=workers)
        metrics = PipelineOrchestrator(None).run(job)
        assert metrics["research_benefits"]["timing_contamination"]["is_pure"] is True
        answers.append(parts_of(folder))
    assert answers[0] == answers[1]
    assert len(answers[0]) == (1 if method == "microflow" else 10)
    assert all(name.startswith("part-000") and name.endswith(suffix or ".csv") for name in answers[0])
    single = a_job(input=visits, method=METHODS[method], output=tmp_path / f"one{suffix or '.csv'}", workers=1)
    whole, _, fates = run(single)
    if not suffix:
        head = whole[: whole.index(b"\n") + 1]
        assert head + b"".join(part.removeprefix(head) for part in answers[0].values()) == whole
    elif suffix == ".parquet":
        assert pyarrow.dataset.dataset(tmp_path / "1.parquet").count_rows() == fates["released"]
    assert not list(tmp_path.glob(".*"))


def test_classes_reach_a_worker_that_screened_nothing(a_job: Make) -> None:
    """Of two workers and one split, the second pass may be the first work of either: it is pure all the same."""
    run(a_job(method=METHODS["k_anonymity"], workers=2))


def test_only_parts_are_replaced(a_job: Make, visits: Path, tmp_path: Path) -> None:
    """An empty folder is taken, parts only when asked, and a folder with anything else never."""
    folder = tmp_path / "safe"
    folder.mkdir()
    job = a_job(output=f"{folder}/")
    PipelineOrchestrator(None).run(job)
    assert list(parts_of(folder)) == ["part-00000.csv"]
    with pytest.raises(InputError, match="is there already"):
        PipelineOrchestrator(None).run(job)
    PipelineOrchestrator(None).run(a_job(output=f"{folder}/", input=visits, overwrite=True))
    assert len(parts_of(folder)) == 10
    PipelineOrchestrator(None).run(a_job(output=f"{folder}/", overwrite=True))
    assert list(parts_of(folder)) == ["part-00000.csv"]
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="other files than parts"):
        PipelineOrchestrator(None).run(a_job(output=f"{folder}/", overwrite=True))
    with pytest.raises(InputError, match="lies in the folder that is read"):
        PipelineOrchestrator(None).run(a_job(input=visits, output=f"{visits}/", overwrite=True))
    assert (folder / "mine.txt").read_text() == "mine"


def test_without_a_row_there_is_a_part_with_the_columns(a_job: Make, people: Path, tmp_path: Path) -> None:
    """So that whoever reads the folder knows what it holds."""
    (tmp_path / "none.csv").write_text(people.read_text().partition("\n")[0] + "\n")
    PipelineOrchestrator(None).run(a_job(input=tmp_path / "none.csv", output=f"{tmp_path / 'safe'}/"))
    (part,) = parts_of(tmp_path / "safe").values()
    assert part.startswith(b"record_id,")
    assert part.count(b"\n") == 1


def test_a_job_that_fails_leaves_no_folder(a_job: Make, tmp_path: Path) -> None:
    """Neither parts nor the hidden folder in which they wait."""
    (tmp_path / "in.csv").write_text("these,are,other,columns\n1,2,3,4\n")
    with pytest.raises(InputError):
        PipelineOrchestrator(None).run(a_job(input=tmp_path / "in.csv", output=f"{tmp_path / 'safe'}/"))
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.database
def test_a_folder_cannot_be_resumed(a_job: Make, connector: PostgreSQLConnector, tmp_path: Path) -> None:
    """It is said before any work."""
    with pytest.raises(MicroflowError, match="cannot be resumed"):
        PipelineOrchestrator(connector).run(a_job(output=f"{tmp_path / 'safe'}/"))


def test_a_job_with_a_folder_reads_back_equal(a_job: Make) -> None:
    """The slash survives, also from another working directory."""
    job = a_job(output="safe/").absolute()
    assert str(job.output) == f"{Path.cwd()}/safe/"
    assert JobSpec.from_document(json.loads(json.dumps(job.to_document()))) == job


@pytest.mark.parametrize("method", ["tokenization", "k_anonymity"])
def test_addresses_are_places_like_others(a_job: Make, visits: Path, tmp_path: Path, method: str) -> None:
    """``memory://`` and ``file://``, one file, a folder and a pattern, cut into splits; also as a folder of parts."""
    memory = fsspec.filesystem("memory")
    memory.put(f"{visits}/", "/visits/", recursive=True)
    expected, _, _ = run(a_job(input=visits, method=METHODS[method], output=tmp_path / "one.csv"))
    for number, place in enumerate(
        ("memory://visits", "memory://visits/*.csv", f"file://{visits}", f"file://{visits}/*.csv")
    ):
        job = a_job(input=place, method=METHODS[method], output=tmp_path / f"{number}.csv", split_bytes=1_500)
        assert run(job)[0] == expected, place
    PipelineOrchestrator(None).run(a_job(input="memory://visits", method=METHODS[method], output="memory://whole.csv"))
    assert memory.cat("/whole.csv") == expected
    for _ in range(2):  # the second time parts are there already
        PipelineOrchestrator(None).run(a_job(input="memory://visits", method=METHODS[method], output="memory://safe/"))
    parts = [memory.cat(path) for path in sorted(memory.ls("/safe", detail=False))]
    assert len(parts) == 10
    head = expected[: expected.index(b"\n") + 1]
    assert head + b"".join(part.removeprefix(head) for part in parts) == expected
    memory.rm("/", recursive=True)
    shutil.rmtree(tmp_path)
