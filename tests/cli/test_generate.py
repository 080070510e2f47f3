"""``microflow generate`` writes what the library generates, in every format, the same bytes each time."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from microflow.cli import cli
from microflow.datasets import DATA_TYPES, generate
from microflow.descriptors import load_schema
from microflow.sources import Quarantine, read_microflows


def run(*words):
    return CliRunner().invoke(cli, ["generate", *(str(word) for word in words)])


@pytest.mark.parametrize("data_type", DATA_TYPES)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".csv.gz"])
def test_the_reader_reads_all_of_it(data_type, suffix, tmp_path):
    """Whatever the format, the rows that come back are the rows generated; none is quarantined."""
    path = tmp_path / f"out{suffix}"
    assert run(data_type, path, "--rows", 700, "--seed", 3).exit_code == 0
    quarantine = Quarantine()
    flows = list(read_microflows(path, load_schema(data_type), quarantine=quarantine))
    (block,) = generate(data_type, 700, 3)
    assert quarantine.total == 0
    assert [row for flow in flows for row in flow.rows.to_pylist()] == block.rows.to_pylist()


def test_truth_lies_apart(tmp_path):
    """The truth is a file of its own, and the rows' file has no column of it."""
    rows, truth = tmp_path / "rows.parquet", tmp_path / "truth.parquet"
    assert run("financial", rows, "--rows", 500, "--truth", truth).exit_code == 0
    (block,) = generate("financial", 500, 1)
    assert pq.read_table(truth).to_pylist() == block.truth.to_pylist()
    assert not {"rule", "truth", "violation"} & set(pq.read_schema(rows).names)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    """Byte for byte, in text and in Parquet."""
    for suffix in (".csv", ".parquet", ".jsonl.gz"):
        one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
        for path in (one, two):
            run("iot", path, "--rows", 300, "--seed", 9)
        assert one.read_bytes() == two.read_bytes()


def test_nothing_is_drawn_in_a_pipe(tmp_path):
    """Without a terminal there is no progress bar and no chatter."""
    done = run("iot", tmp_path / "out.csv", "--rows", 100)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["out.xlsx"], "no format is known"),
        (["none/out.csv"], "cannot be written"),
        (["out.csv", "--truth", "out.csv"], "a file each"),
        (["out.csv", "--truth", "none/truth.csv"], "cannot be written"),
    ],
)
def test_files_that_cannot_be(words, part, tmp_path, monkeypatch):
    """One clear error, and nothing left behind."""
    monkeypatch.chdir(tmp_path)
    done = run("iot", *words, "--rows", 10)
    assert part in str(done.exception)
    assert list(tmp_path.iterdir()) == []
