"""SIGKILL: at calls drawn beforehand, over every pipeline, and again while the job resumes."""

from __future__ import annotations

import random
from collections.abc import Iterator

from faults.attempts import Attempt, run_attempt
from faults.stand import Outcome, Stand

__all__ = ["KILLS", "Line", "kills"]

#: Pipeline, engine, method and format of a job that is killed, and how many times.
Line = tuple[str, str, str, str, int]
KILLS: tuple[Line, ...] = (
    ("batch", "local", "tokenization", ".csv", 12),
    ("batch", "local", "k_anonymity", ".csv", 10),
    ("batch", "local", "k_anonymity", ".parquet", 8),
    ("batch", "local", "differential_privacy", ".jsonl", 8),
    ("batch", "local", "tokenization", ".csv.gz", 4),
    ("stream", "local", "tokenization", ".csv", 10),
    ("stream", "local", "k_anonymity", ".csv", 10),
    ("hybrid", "local", "tokenization", ".csv.gz", 8),
    ("hybrid", "local", "k_anonymity", ".csv", 8),
    ("batch", "spark", "tokenization", ".csv", 2),
    ("batch", "spark", "k_anonymity", ".csv", 2),
)


def kills(stand: Stand, line: Line, seed: int) -> Iterator[Outcome]:
    """Kill one line's job at seeded points over its whole run; every third case is killed again while it resumes."""
    *names, times = line
    job = stand.job(*names)
    _, calls = stand.whole(job)
    draw = random.Random(f"{seed} {names}")
    for case in range(times):
        points = [draw.randrange(1, calls + 1) for _ in range(2 if case % 3 == 2 else 1)]
        own = stand.fresh(job, "kill")
        assert run_attempt(Attempt(own, stand.url, kill_at=points[0])).killed
        for point in points[1:]:
            run_attempt(Attempt(own, stand.url, resume=stand.status(own) is not None, kill_at=point))
        stand.finish(own)
        yield stand.outcome(f"SIGKILL {' '.join(names)}", job, own, note=f"before call {points}")
