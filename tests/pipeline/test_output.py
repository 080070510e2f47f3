"""Outputs that are continued: cut back, gone on with, and whole at the end, in every format."""

from __future__ import annotations

import errno
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.engine.reading import Part
from microflow.errors import CheckpointError, MicroflowError
from microflow.pipeline import output as output_module
from microflow.pipeline.output import Output as JobOutput
from microflow.settings import Retries
from microflow.sinks.writers import encoder, text_of

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
    lengths, start = [output_module._NOTHING], 0
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
    """Without a database nobody could continue the partial file."""
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
    fsync = output_module.os.fsync

    def full(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        fsync(descriptor)

    monkeypatch.setattr(output_module.os, "fsync", full)
    output.add(batch(5, 5))
    output.settle()
    output.finish()
    assert failures == []
    assert (tmp_path / f"out{suffix}").read_bytes() == expected


def test_a_disk_that_stays_full_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pauses are taken, then the user is told to make room."""
    pauses: list[float] = []
    output = Output(tmp_path / "out.csv", SCHEMA, retries=Retries((1, 2, 3), sleep=pauses.append))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(output_module.os, "fsync", full)
    output.add(batch(0, 5))
    with pytest.raises(MicroflowError, match="No space left") as caught:
        output.settle()
    assert "make room" in caught.value.hint
    assert pauses == [1, 2, 3]


def test_a_refusal_that_waiting_does_not_cure_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error is told at once."""
    output = Output(tmp_path / "out.csv", SCHEMA, retries=Retries((1,), sleep=lambda _: pytest.fail("waited")))

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(output_module.os, "fsync", broken)
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
