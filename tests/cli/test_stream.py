"""``microflow stream`` without a broker: standard input to standard output, to a file and to PostgreSQL."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from microflow.anonymize.contract import Method, MethodSettings
from microflow.cli import cli
from microflow.cli import stream as live
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.engine.service import MessageService
from microflow.errors import MicroflowError
from microflow.pipeline.stream_job import Progress
from microflow.store.connector import PostgreSQLConnector

WORDS = ["--schema", "healthcare", "--method", "tokenization"]
LINES = [json.dumps(row) for block in generate("healthcare", 60, 1) for row in block.rows.to_pylist()]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", "07" * 32)


def run(sink: str, lines: list[str], *words: str):
    return CliRunner().invoke(
        cli, ["stream", "-", sink, *WORDS, *words], input="\n".join(lines), catch_exceptions=False
    )


@pytest.mark.parametrize("pipeline", ["stream", "hybrid"])
def test_lines_in_lines_out(pipeline: str) -> None:
    """What cannot be read is named on standard error, by its line; its neighbours come out."""
    done = run("-", [*LINES[:2], "{", LINES[2]], "--pipeline", pipeline)
    assert done.exit_code == 0
    assert [json.loads(line)["record_id"] for line in done.stdout.splitlines()] == [0, 1, 2]
    assert "message 3: not a JSON object" in done.stderr
    assert "1 unreadable" in done.stderr


def test_k_anonymity_holds_back_until_each_leaves_among_k(tmp_path: Path) -> None:
    """At the end of the input all have left; a scope that a stream cannot do is refused."""
    sink = tmp_path / "safe.jsonl"
    done = run(str(sink), LINES, "--method", "k_anonymity", "--k", "4", "--pipeline", "stream")
    assert done.exit_code == 0
    released = [json.loads(line) for line in sink.read_text().splitlines()]
    suppressed = 0 if "suppressed" not in done.stderr else int(done.stderr.split(" suppressed")[0].split()[-1])
    assert len(released) + suppressed == len(LINES)
    names = [column.name for column in load_schema("healthcare").quasi_identifiers]
    assert min(Counter(tuple(one[name] for name in names) for one in released).values()) >= 4
    with pytest.raises(MicroflowError, match="cannot work by scope"):
        run("-", LINES, "--method", "k_anonymity", "--scope", "dataset")


def test_a_file_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Two runs give the file of one; dead letters lie beside it, for its owner only."""
    run(str(tmp_path / "once.jsonl"), LINES)
    run(str(tmp_path / "twice.jsonl"), [*LINES[:30], "[]"])
    run(str(tmp_path / "twice.jsonl"), LINES[30:])
    assert (tmp_path / "twice.jsonl").read_bytes() == (tmp_path / "once.jsonl").read_bytes()
    dead = tmp_path / "twice.jsonl.dead"
    assert json.loads(dead.read_text()) == {"partition": 0, "offset": 30, "reason": "not a JSON object"}
    assert dead.stat().st_mode & 0o777 == 0o600


def test_postgresql_keeps_rows_reasons_and_the_job(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``microflow jobs`` shows it; ``microflow resume`` says how it goes on."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert run("postgresql", [*LINES[:5], "{"], "--group", "clinic").exit_code == 0
    assert run("postgresql", LINES[5:9], "--group", "clinic").exit_code == 0
    with PostgreSQLConnector(database_url) as connector:
        rows = connector.query('SELECT "offset", record, reason FROM topic_results WHERE consumer = %s', ("clinic",))
        jobs = connector.query("SELECT id, status, rows_read, rows_quarantined FROM jobs WHERE id LIKE 'clinic-%%'")
    assert sorted(row[0] for row in rows) == list(range(10))
    assert [row[2] for row in rows if row[1] is None] == ["not a JSON object"]
    assert sorted(row[1:] for row in jobs) == [("completed", 4, 0), ("completed", 5, 1)]
    shown = CliRunner().invoke(cli, ["jobs"]).output
    assert "clinic-" in shown
    assert "hybrid" in shown
    refused = CliRunner().invoke(cli, ["resume", jobs[0][0]])
    assert "is a stream" in str(refused.exception)


def test_sigterm_commits_what_is_under_way_and_ends(tmp_path: Path) -> None:
    """The process ends in good order though its input does not."""
    sink = tmp_path / "safe.jsonl"
    command = [sys.executable, "-c", "from microflow.cli import main; main()", "stream", "-", str(sink), *WORDS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        process.stdin.write(("\n".join(LINES) + "\n").encode())
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not sink.exists() or not sink.stat().st_size):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert b"messages: 59 released, 1 suppressed\n" in process.stderr.read()
    assert len(sink.read_bytes().splitlines()) == 59


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["file.jsonl", "-"], "is no source"),
        (["-", "out.jsonl", "--group", "g"], "written by one process"),
        (["kafka://host:1/a", "kafka://other:1/b"], "spans one cluster"),
        (["kafka://host:1", "-"], "names no topic"),
    ],
)
def test_ends_that_do_not_go_together(words: list[str], said: str) -> None:
    """One line, before anything is opened."""
    done = CliRunner().invoke(cli, ["stream", *words[:2], *WORDS, *words[2:]])
    assert said in str(done.exception)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written over, and gone at the end; a pipe gets nothing."""
    monkeypatch.setattr(live, "_EVERY_S", 0)
    schema = load_schema("healthcare")
    service = MessageService(
        ProcessingSpec(schema, load_policy("hipaa"), MethodSettings(Method.TOKENIZATION), key=bytes(32))
    )
    for out in (Terminal(), io.StringIO()):
        view = live.LiveView(out, service)
        view.observe(Progress(committed=1_234, lag=5, latencies=[("alone", 1, 0.25)]))
        view.close()
        shown = out.getvalue()
        assert ("1,234 committed" in shown and "lag 5  250 ms" in shown) == out.isatty()
        assert "\n" not in shown
        assert shown.endswith("\r\x1b[K") == out.isatty()


def test_urgency_rules_come_from_a_file(tmp_path: Path) -> None:
    """Rows are the same; a rule that means nothing is said before anything is read."""
    rules = tmp_path / "urgent.yaml"
    rules.write_text("- {column: triage, one_of: [emergency]}\n")
    assert run("-", LINES, "--urgency", str(rules)).stdout == run("-", LINES, "--pipeline", "stream").stdout
    rules.write_text("- {colour: red}\n")
    done = CliRunner().invoke(cli, ["stream", "-", "-", *WORDS, "--urgency", str(rules)], input="")
    assert "unknown word 'colour'" in str(done.exception)
