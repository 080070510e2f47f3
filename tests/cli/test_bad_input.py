"""Bad files through the whole of ``microflow run``: status 0 or 2, one clear line, and every row accounted for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from microflow.cli import cli
from microflow.errors import InputError

SCHEMA = """
name: people
policy: gdpr
columns:
  id: {role: record_id, type: integer, required: true}
  name: {role: identifier, kind: name}
  age: {role: quasi_identifier, type: integer, kind: age, low: 0, high: 120}
  note: {role: free_text}
"""
HEADER = "id,name,age,note\n"
SECRET = "Zaphod Beeblebrox"


@pytest.fixture
def run(tmp_path):
    """Run a text through k-anonymity; the result, the metrics, the output's and the quarantine's lines."""
    (tmp_path / "people.yaml").write_text(SCHEMA, "utf-8")

    def runner(content: bytes, *options, suffix=".csv"):
        source, out = tmp_path / f"in{suffix}", tmp_path / "out.csv"
        metrics, quarantine = tmp_path / "metrics.json", tmp_path / "out.csv.quarantine.csv"
        source.write_bytes(content)
        words = [source, out, "--schema", tmp_path / "people.yaml", "--method", "k_anonymity", "--k", 2]
        words += ["--no-database", "--metrics", metrics, *options]
        done = CliRunner().invoke(cli, ["run", *(str(word) for word in words)])
        counted = json.loads(metrics.read_text())["processing_metrics"] if metrics.exists() else None
        texts = [path.read_text("utf-8").splitlines()[1:] if path.exists() else None for path in (out, quarantine)]
        return done, counted, *texts

    return runner


def rows(count: int, start: int = 1) -> str:
    return "".join(f"{n},A,{n % 50},fine\n" for n in range(start, start + count))


@pytest.mark.parametrize("pipeline", ["batch", "stream", "hybrid"])
def test_read_is_written_and_suppressed_and_quarantined(pipeline, run):
    """With every kind of bad row in between, the counts add up to the lines of the file, in every pipeline."""
    bad = f'x,{SECRET},1,\n7,{SECRET}\n1,again,3,\n8000,B,old,\n"open,B,1,\n9000,C,1,{"y" * 9}\0\n,D,1,\n'
    done, counted, out, quarantine = run(
        (HEADER + rows(1_200) + bad + rows(1_100, 2_000)).encode(), "--pipeline", pipeline
    )
    assert done.exit_code == 0, done.output
    assert counted["quarantined"] == len(quarantine) == 7
    assert counted["released"] == len(out)
    assert counted["released"] + counted["suppressed"] + counted["quarantined"] == 2_300 + 7
    assert [int(line.split(",")[0]) for line in sorted(quarantine)] == list(range(1_202, 1_209))
    assert SECRET not in done.output + str(quarantine) + str(out) + str(counted)


def test_raw_text_on_request(run):
    """Only --quarantine-raw writes what stood in a refused row."""
    content = (HEADER + rows(10) + f"x,{SECRET},1,\n").encode()
    assert SECRET not in str(run(content)[3])
    assert SECRET in str(run(content, "--quarantine-raw", "--overwrite")[3])


def test_a_clean_file_has_no_quarantine(run):
    """The file appears only if there is something in it."""
    done, counted, _, quarantine = run((HEADER + rows(10)).encode())
    assert done.exit_code == 0
    assert counted["quarantined"] == 0
    assert quarantine is None


@pytest.mark.parametrize(
    ("content", "suffix", "part"),
    [
        (b"", ".csv", "empty"),
        (b"id,name\n1,A\n", ".csv", "lacks"),
        (b"not parquet", ".parquet", "not a whole Parquet file"),
        (b"\x1f\x8bbroken", ".csv.gz", "broken"),
        (HEADER.encode(), ".docx", "no format"),
        (HEADER.encode(), ".xlsx", "not a whole spreadsheet"),
    ],
)
def test_unusable_files_leave_nothing(content, suffix, part, run, tmp_path):
    """One clear error; neither an output nor a part of one."""
    done, counted, out, quarantine = run(content, suffix=suffix)
    assert isinstance(done.exception, InputError)
    assert part in str(done.exception)
    assert (counted, out, quarantine) == (None, None, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"in{suffix}", "people.yaml"]


def test_header_only_gives_header_only(run):
    """No rows in, no rows out, and that is no error."""
    done, counted, out, _ = run(HEADER.encode())
    assert done.exit_code == 0, done.output
    assert out == []
    assert counted["total_records"] == 0


def test_formulas_are_escaped(run):
    """Text that a spreadsheet would execute gets an apostrophe in the output."""
    _, _, out, _ = run((HEADER + "1,A,3,=cmd|' /C calc'!A0\n2,B,3,+1+1\n").encode())
    assert all(line.split(",")[3].strip('"').startswith("'") for line in out)


def test_a_pipe_as_input(tmp_path):
    """Data can come from another process by a named pipe with a known suffix."""
    (tmp_path / "people.yaml").write_text(SCHEMA, "utf-8")
    produce = f"mkfifo in.csv; (printf '{HEADER}'; seq 1 3000 | sed 's/$/,A,1,fine/') > in.csv &"
    consume = (
        f"{sys.executable} -m microflow run in.csv out.csv --schema people.yaml --method tokenization --no-database"
    )
    command = f"{produce} {consume}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        env={"MICROFLOW_TOKEN_KEY": "00" * 32, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3_001
