"""A sample of the attacks; ``make attack`` tries all of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from attack.hostile import SCHEMA, hostile_file
from attack.stand import Outcome, judge, microflow

SAMPLE = {
    "bomb.jsonl.gz": gzip.compress(b'{"id":1,"name":"' + b"x" * 10**8),
    "ragged.csv": b"id,name,age,notes\n3,Zq7-Sentinel-Vx9\n1,Ada,30,x\n",
    "quote.csv": b'id,name,age,notes\n3,"Zq7-Sentinel-Vx9,30,x\n1,Ada,30,x\n',
    "deep.jsonl": b'{"id":' + b"[" * 50_000 + b"\n",
    "digits.jsonl": b'{"id":2,"name":"a","age":' + b"9" * 400 + b',"notes":"x"}\n',
}


@pytest.mark.parametrize("name", SAMPLE)
def test_a_hostile_file_ends_in_a_clear_line(tmp_path: Path, name: str) -> None:
    """No traceback, no value on the screen or in the quarantine, counts that add up."""
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    outcome: Outcome = hostile_file(tmp_path, name, name, SAMPLE[name], "tokenization")
    assert outcome.is_clean, outcome


def test_a_place_where_nothing_can_be_is_said_before_work_starts(tmp_path: Path) -> None:
    """Metrics in a folder that takes no file: refused, and no output beside it."""
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    (tmp_path / "in.csv").write_text("id,name,age,notes\n1,Ada,30,x\n")
    run = ("run", "in.csv", "out.csv", "--schema", "schema.yaml", "--method", "tokenization", "--no-database")
    ended = microflow(*run, "--metrics", "/proc/microflow-metrics.json", folder=tmp_path)
    assert ended.status == 2
    assert judge("metrics", ended).is_clean
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.csv", "schema.yaml"]
