"""What a job writes is continued, put together and put in place; a folder of parts too."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.dataset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.engine.reading import Part
from microflow.errors import CheckpointError, InputError, MicroflowError
from microflow.pipeline import JobSpec, PipelineOrchestrator, partial
from microflow.pipeline import output as output_module
from microflow.pipeline.output import Output as JobOutput
from microflow.pipeline.partial import NOTHING
from microflow.settings import Retries
from microflow.sinks.writers import encoder, text_of
from microflow.store.connector import PostgreSQLConnector
from pipeline.alike import METHODS, run

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])
SUFFIXES = (".csv", ".jsonl", ".parquet", ".csv.gz", ".jsonl.gz")


class Output(JobOutput):
    """A job's output that is given batches, and prepares itself."""

    def __init__(self, path: Path, schema: pa.Schema, attempt: int = 0, **more) -> None:
        super().__init__(path, schema, "job", attempt, **{"durable": True, **more})
        self._encode = encoder(text_of(path))

    def add(self, rows: pa.RecordBatch) -> None:
        super().add(self._encode(rows))

    def finish(self) -> None:
        self.prepare()
        super().finish()


def batch(start: int, rows: int) -> pa.RecordBatch:
    numbers = list(range(start, start + rows))
    return pa.record_batch([numbers, [f'row {n}, "quoted"\n=formula' for n in numbers]], schema=SCHEMA)


def whole(path: Path, sizes: list[int]) -> bytes:
    output = Output(path, SCHEMA)
    start = 0
    for size in sizes:
        output.add(batch(start, size))
        output.settle()
        start += size
    output.finish()
    return path.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=8)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6), data=st.data())
def test_a_continued_output_is_the_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, sizes: list[int], data: st.DataObject
) -> None:
    """Stopped after any commit, with more written than was committed, and gone on in other groups: the same bytes."""
    folder = tmp_path_factory.mktemp("output")
    expected = whole(folder / f"whole{suffix}", sizes)
    stop = data.draw(st.integers(0, len(sizes)))
    path = folder / f"stopped{suffix}"
    first = Output(path, SCHEMA)
    lengths, start = [NOTHING], 0
    for size in sizes:
        first.add(batch(start, size))
        lengths.append(first.settle())
        start += size
    first.close(discard=False)
    assert not path.exists()
    second = Output(path, SCHEMA, 1, start=lengths[stop])
    start = sum(sizes[:stop])
    for size in sizes[stop:]:
        second.add(batch(start, size))
        start += size
    second.finish()
    assert path.read_bytes() == expected
    assert [entry.name for entry in folder.iterdir() if entry.name.startswith(".")] == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_job_without_a_row_has_an_output_too(tmp_path: Path, suffix: str) -> None:
    """Everything quarantined or suppressed is an answer, not an error."""
    output = Output(tmp_path / f"out{suffix}", SCHEMA)
    output.finish()
    assert (tmp_path / f"out{suffix}").exists()


def test_what_was_written_and_is_gone_is_not_made_up(tmp_path: Path) -> None:
    """A partial file that vanished or shrank cannot be continued."""
    with pytest.raises(CheckpointError, match="is gone"):
        Output(tmp_path / "out.csv", SCHEMA, start=(10, "hash"))


def test_discarding_leaves_nothing(tmp_path: Path) -> None:
    """Without a database the partial file cannot be continued, so it is removed."""
    output = Output(tmp_path / "out.csv", SCHEMA)
    output.add(batch(0, 3))
    output.settle()
    output.close(discard=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_full_disk_is_waited_for(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room that comes back in time: the bytes are those of a disk that was never full."""
    expected = whole(tmp_path / f"whole{suffix}", [5, 5])
    output = Output(tmp_path / f"out{suffix}", SCHEMA, retries=Retries((1, 2), sleep=lambda _: None))
    output.add(batch(0, 5))
    output.settle()
    failures = [OSError(errno.ENOSPC, "No space left on device")] * 2
    fsync = partial.os.fsync

    def full(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        fsync(descriptor)

    monkeypatch.setattr(partial.os, "fsync", full)
    output.add(batch(5, 5))
    output.settle()
    output.finish()
    assert failures == []
    assert (tmp_path / f"out{suffix}").read_bytes() == expected


def test_a_disk_that_stays_full_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After all pauses, the error asks the user to make room."""
    pauses: list[float] = []
    output = Output(tmp_path / "out.csv", SCHEMA, retries=Retries((1, 2, 3), sleep=pauses.append))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(partial.os, "fsync", full)
    output.add(batch(0, 5))
    with pytest.raises(MicroflowError, match="No space left") as caught:
        output.settle()
    assert "make room" in caught.value.hint
    assert pauses == [1, 2, 3]


def test_a_refusal_that_waiting_does_not_cure_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error is reported at once."""
    output = Output(tmp_path / "out.csv", SCHEMA, retries=Retries((1,), sleep=lambda _: pytest.fail("waited")))

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(partial.os, "fsync", broken)
    with pytest.raises(MicroflowError, match="Input/output error"):
        output.settle()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_nobody_resumes_is_the_same(tmp_path: Path, suffix: str) -> None:
    """Compressed text and Parquet are then written as rows come, whether here or in a part file."""
    expected = whole(tmp_path / f"whole{suffix}", [30, 0, 12])
    output = Output(tmp_path / f"once{suffix}", SCHEMA, durable=False)
    output.add(batch(0, 30))
    output.settle()
    part, body = tmp_path / "000.part", encoder(text_of(f"x{suffix}"))(batch(30, 12))
    part.write_bytes(b"before" + (body if isinstance(body, bytes) else output_module._stream(body)))
    JobOutput.add(output, Part(str(part), len("before"), part.stat().st_size, last=True))
    output.settle()
    assert not part.exists()
    output.finish()
    assert (tmp_path / f"once{suffix}").read_bytes() == expected
    stopped = Output(tmp_path / f"stopped{suffix}", SCHEMA, durable=False)
    stopped.add(batch(0, 30))
    stopped.close(discard=True)
    assert not list(tmp_path.glob("*stopped*"))


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
    """A reader of the folder finds the names of the columns."""
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
