"""What Storm starts for each component: ``python -m microflow.storm.shell COMPONENT JOB``.

``JOB`` is a JSON file: ``schema`` and ``policy`` (names or paths), ``method`` (the fields of `MethodSettings`),
``source`` (JSON Lines of ``{"ordinal": ..., "record": ...}``), ``results`` (JSON Lines that the sink appends to) and,
where the transport is measured, ``acks`` (which the spout appends to; see `microflow.storm.acks`). The token key is not
in it: workers read it from the file that ``MICROFLOW_TOKEN_KEY_FILE`` names.

The bolts are those of `microflow.engine.bolts`. The spout replays what fails; the sink lets every ordinal through
once, also after it was killed: what it has written is what it remembers.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.keys import read_key
from microflow.compliance import Violation, load_policy
from microflow.descriptors import load_schema
from microflow.engine.bolts import AnonymizeBolt, ComplianceBolt, Passing
from microflow.engine.contract import ProcessingSpec
from microflow.storm.acks import AckLog
from microflow.storm.multilang import Tuple, run_bolt, run_spout, standard_channel

__all__ = ["FileSink", "FileSpout", "read_results", "work_of"]

Work = Callable[[Tuple], Sequence[list[Any]]]


class FileSpout:
    """Emits the records of a file, each until it is acknowledged; skips those that the sink already has.

    A record whose line has ``due_ns`` waits: for the acknowledgement of all that have none, and from then on for its
    time (an open loop, that does not wait for the topology). The others are due when they are first emitted.
    """

    def __init__(self, source: Path, done: set[int], acks: AckLog | None = None) -> None:
        with source.open("rb") as lines:
            records = [one for one in map(json.loads, lines) if one["ordinal"] not in done]
        self._records = {one["ordinal"]: json.dumps(one["record"]) for one in records}
        self._waiting = deque(self._records)
        self._schedule = {one["ordinal"]: int(one["due_ns"]) for one in records if "due_ns" in one}
        self._unpaced = len(records) - len(self._schedule)
        self._origin_ns = 0
        self._due: dict[int, int] = {}
        self._acks = acks

    def next(self) -> tuple[str, list[Any]] | None:
        """The next record that is due, a failed one again before new ones."""
        now = time.perf_counter_ns()
        if not self._waiting or not self._is_due(self._waiting[0], now):
            return None
        ordinal = self._waiting.popleft()
        self._due.setdefault(ordinal, now)
        return str(ordinal), [ordinal, self._records[ordinal], "[]"]

    def ack(self, message: str) -> None:
        """Forget it: the sink has it."""
        ordinal = int(message)
        if self._records.pop(ordinal, None) is None:
            return
        self._unpaced -= ordinal not in self._schedule
        if self._acks is not None:
            self._acks.write(ordinal, self._due.pop(ordinal), time.perf_counter_ns(), paced=ordinal in self._schedule)

    def fail(self, message: str) -> None:
        """Emit it again, first."""
        if int(message) in self._records:
            self._waiting.appendleft(int(message))

    def _is_due(self, ordinal: int, now: int) -> bool:
        if ordinal not in self._schedule or ordinal in self._due:
            return True
        if self._unpaced:
            return False
        # A spout that was started again goes on from the first that is left.
        self._origin_ns = self._origin_ns or now - self._schedule[ordinal]
        due = self._origin_ns + self._schedule[ordinal]
        if now < due:
            return False
        self._due[ordinal] = due
        return True


class FileSink:
    """Appends each ordinal's result once; a line that a kill cut short is taken back."""

    def __init__(self, results: Path) -> None:
        complete = results.read_bytes() if results.exists() else b""
        complete = complete[: complete.rfind(b"\n") + 1]
        self._seen = {json.loads(line)["ordinal"] for line in complete.splitlines()}
        self._file = results.open("ab")
        self._file.truncate(len(complete))

    def __call__(self, ordinal: int, record: str | None, violations: str) -> None:
        if ordinal in self._seen:
            return
        self._seen.add(ordinal)
        line = {"ordinal": ordinal, "record": record and json.loads(record), "violations": json.loads(violations)}
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()


def work_of(component: str, job: dict[str, Any]) -> Work:
    """What a bolt or the sink does with one tuple.

    Raises:
        KeyError: the topology has no such component.
    """
    makers: dict[str, Callable[[dict[str, Any]], Work]] = {
        "compliance": lambda job: _compliance(ComplianceBolt.of(_spec(job))),
        "anonymize": lambda job: _anonymize(AnonymizeBolt.of(_spec(job))),
        "work": lambda job: _both(ComplianceBolt.of(_spec(job)), AnonymizeBolt.of(_spec(job))),
        "results": lambda job: _sink(FileSink(Path(job["results"]))),
    }
    return makers[component](job)


def read_results(path: Path) -> dict[int, dict[str, Any]]:
    """Complete lines of the sink's file, by ordinal."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {one["ordinal"]: one for one in found}


def _compliance(bolt: ComplianceBolt) -> Work:
    def work(received: Tuple) -> list[list[Any]]:
        ordinal, record, _ = received.values
        return [_packed(bolt(ordinal, json.loads(record)))]

    return work


def _anonymize(bolt: AnonymizeBolt) -> Work:
    def work(received: Tuple) -> list[list[Any]]:
        return [_packed(bolt(_unpacked(received.values)))]

    return work


def _both(compliance: ComplianceBolt, anonymize: AnonymizeBolt) -> Work:
    """Both bolts as one."""

    def work(received: Tuple) -> list[list[Any]]:
        ordinal, record, _ = received.values
        return [_packed(anonymize(compliance(ordinal, json.loads(record))))]

    return work


def _sink(sink: FileSink) -> Work:
    def work(received: Tuple) -> list[list[Any]]:
        sink(*received.values)
        return []

    return work


def _packed(passing: Passing) -> list[Any]:
    record = None if passing.record is None else json.dumps(passing.record)
    return [passing.ordinal, record, json.dumps(passing.violations)]


def _unpacked(values: list[Any]) -> Passing:
    ordinal, record, violations = values
    return Passing(ordinal, record and json.loads(record), [Violation(*one) for one in json.loads(violations)])


def _spec(job: dict[str, Any]) -> ProcessingSpec:
    settings = MethodSettings(**{**job["method"], "method": Method(job["method"]["method"])})
    key = read_key(settings.key_bits, os.environ) if settings.method is Method.TOKENIZATION else None
    return ProcessingSpec(load_schema(job["schema"]), load_policy(job["policy"]), settings, key=key)


def main(component: str, job_file: str) -> None:
    """Serve Storm until the pipe closes."""
    job = json.loads(Path(job_file).read_text("utf-8"))
    channel = standard_channel()
    channel.handshake()
    if component == "records":
        acks = AckLog(Path(job["acks"])) if "acks" in job else None
        run_spout(channel, FileSpout(Path(job["source"]), set(read_results(Path(job["results"]))), acks))
    else:
        run_bolt(channel, work_of(component, job))


if __name__ == "__main__":
    main(*sys.argv[1:])
