"""The stream topology on Apache Storm: as Flux YAML for a cluster, and in one JVM beside the same bolts here.

No Java is written: every component is a shell component that runs ``python -m microflow.storm.shell COMPONENT JOB``.
Source: Apache Storm, "Flux" (storm.apache.org, version 2.8).

In one JVM runs Storm's ``LocalCluster``. It is watched, and started again when a component was killed.

Storm ends a worker whose shell component died, and on a cluster its supervisor starts the worker again. Here that is
this module's part. What the sink has written stays; the spout emits the rest: nothing lost, nothing doubled. ZooKeeper
runs beside it: the one that ``LocalCluster`` would start itself listens on every address of the machine.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import yaml

from microflow.anonymize.tokenization import KEY_FILE_VARIABLE
from microflow.engine.contract import ProcessingSpec
from microflow.engine.stream import AnonymizeBolt, ComplianceBolt, Passing
from microflow.errors import SetupError
from microflow.jvm import free_ports, jars, start_java
from microflow.schema import Record
from microflow.sinks.writers import private
from microflow.storm.shell import Acks, read_results

__all__ = ["TOPOLOGIES", "StormTrial", "Topology", "flux", "prepare", "run_local", "storm_trial"]

#: Starts of the JVM before a job fails.
MOST_STARTS = 5
_POLL_S = 0.05
_ACKS_S = 2.0
#: Storm's own default: supervisor.worker.timeout.secs.
_WORKER_TIMEOUT_S = 30.0
_ACKS, _LOG, _KEY = "acks.txt", "storm.log", "token.key"
_LOOPBACK = "127.0.0.1"
_ZOOKEEPER = "org.apache.storm.shade.org.apache.zookeeper.server.ZooKeeperServerMain"
_ZOOKEEPER_CONFIG = """\
dataDir={folder}
clientPort={port}
clientPortAddress={address}
admin.enableServer=false
tickTime=2000
maxClientCnxns=0
"""


_WRAPPERS = "org.apache.storm.flux.wrappers"
#: The fields of every tuple: the record's ordinal, the record as JSON text (null where it may not be kept), and the
#: violations found in it as JSON text.
_FIELDS = ["ordinal", "record", "violations"]


@dataclass(frozen=True, slots=True)
class Topology:
    """A chain of components: the spout ``records``, bolts, and the sink ``results``."""

    name: str
    bolts: tuple[str, ...]

    @property
    def components(self) -> tuple[str, ...]:
        """All components, in the order of the stream."""
        return ("records", *self.bolts, "results")


STREAM_TOPOLOGY = Topology("microflow-stream", ("compliance", "anonymize"))
#: What can be run: the stream's two bolts, or a record's whole work in one bolt, which saves a hop. Nothing is routed:
#: the adaptive router is `microflow stream`'s.
TOPOLOGIES = {"stream": STREAM_TOPOLOGY, "one-bolt": Topology("microflow-one-bolt", ("work",))}


def flux(topology: Topology, job: Path, *, python: str = sys.executable, pending: int = 1_000) -> str:
    """The topology as Flux YAML.

    Args:
        topology: What is to run.
        job: The JSON file that tells every component its work; see `microflow.storm.shell`.
        python: The interpreter on the workers.
        pending: Back-pressure: the tuples that may be on their way at a time (``topology.max.spout.pending``).
    """

    def component(name: str, wrapper: str) -> dict[str, Any]:
        words = [python, "-m", "microflow.storm.shell", name, str(job)]
        described = {"id": name, "className": f"{_WRAPPERS}.{wrapper}"}
        return {**described, "constructorArgs": [words, _FIELDS], "parallelism": 1}

    document = {
        "name": topology.name,
        "config": {
            "topology.workers": 1,
            "topology.max.spout.pending": pending,
            "topology.message.timeout.secs": 30,
            "topology.acker.executors": 1,
        },
        "spouts": [component(topology.components[0], "spouts.FluxShellSpout")],
        "bolts": [component(name, "bolts.FluxShellBolt") for name in topology.components[1:]],
        "streams": [
            {"name": f"{source}-{target}", "from": source, "to": target, "grouping": {"type": "SHUFFLE"}}
            for source, target in pairwise(topology.components)
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def prepare(
    folder: Path,
    spec: ProcessingSpec,
    schema: str,
    policy: str,
    records: Sequence[Record],
    *,
    schedule: npt.NDArray[np.int64] | None = None,
) -> Path:
    """Write the source and the job file that every component reads; returns the job file.

    The key is not in it, and in no environment, but in a file beside it that is its owner's alone.

    The last records come at the instants of ``schedule``, when all before them are through; without, all at once.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = {name: folder / f"{name}.jsonl" for name in ("source", "results")} | {"acks": folder / _ACKS}
    scheduled = [] if schedule is None else schedule.tolist()
    due: list[dict[str, int]] = [{}] * (len(records) - len(scheduled)) + [{"due_ns": instant} for instant in scheduled]
    with private(names["source"]) as source, io.TextIOWrapper(source, "utf-8") as file:
        for ordinal, (record, when) in enumerate(zip(records, due, strict=True)):
            file.write(json.dumps({"ordinal": ordinal, "record": record, **when}) + "\n")
    if spec.key is not None:
        with private(folder / _KEY) as file_of_key:
            file_of_key.write(spec.key.hex().encode("ascii"))
    described = {"schema": schema, "policy": policy, "method": asdict(spec.method)}
    job = folder / "job.json"
    job.write_text(json.dumps(described | {name: str(path) for name, path in names.items()}), "utf-8")
    return job


def run_local(
    job: Path,
    expected: int,
    topology: Topology = STREAM_TOPOLOGY,
    *,
    patience_s: float = 120,
    meanwhile: Callable[[int], None] | None = None,
) -> tuple[Acks, int]:
    """Run until the sink holds ``expected`` records and the spout has heard of them.

    ``meanwhile`` is called now and then with the number of records done: tests use it to kill things.

    Returns:
        What the spout saw, and how often the JVM was started.

    Raises:
        SetupError: no Java, no jars, or the topology made no progress; the hint names Storm's log.
    """
    folder = job.parent
    yaml_file = folder / "topology.yaml"
    yaml_file.write_text(flux(topology, job), "utf-8")
    results, acks = folder / "results.jsonl", folder / _ACKS
    machine, done = _Machine(yaml_file), 0
    deadline = time.monotonic() + patience_s
    try:
        while done < expected:
            machine.look(done)
            time.sleep(_POLL_S)
            done = _lines(results)
            if meanwhile is not None:
                meanwhile(done)
            if time.monotonic() > deadline:
                raise SetupError(f"the Storm topology stopped at {done} of {expected}", hint=f"see {folder / _LOG}")
        _await_acks(acks, expected)
        return Acks.read(acks), machine.starts
    finally:
        machine.stop()


class _Machine:
    """The JVM: started again when it has ended, or when results have not moved for as long as Storm waits for a worker.

    A worker whose component died leaves by Java's exit hooks; one that hangs in them lives and does nothing any more.
    """

    def __init__(self, yaml_file: Path) -> None:
        self.starts = 0
        self._yaml_file = yaml_file
        self._process: subprocess.Popen[bytes] | None = None
        self._zookeeper: subprocess.Popen[bytes] | None = None
        self._done, self._moved = 0, 0.0

    def look(self, done: int) -> None:
        """See to it that a JVM runs; ``done`` is how far it has come.

        Raises:
            SetupError: it has been started often enough.
        """
        now = time.monotonic()
        if done != self._done:
            self._done, self._moved = done, now
        if now - self._moved > _WORKER_TIMEOUT_S:
            self.stop()
        if self._process is None or self._process.poll() is not None:
            if self.starts == MOST_STARTS:
                raise SetupError("the Storm topology kept dying", hint=f"see {self._yaml_file.parent / _LOG}")
            self.stop()
            self.starts += 1
            (port,) = free_ports(1)
            with (self._yaml_file.parent / _LOG).open("ab") as log:
                # A new one each time: the old one still holds the topology that failed.
                self._zookeeper = _start_zookeeper(self._yaml_file.with_name(f"zookeeper-{self.starts}"), port, log)
                self._process, self._moved = _start(self._yaml_file, port, log), now

    def stop(self) -> None:
        """End it at once; the components end with their pipes."""
        for process in (self._process, self._zookeeper):
            if process is not None:
                process.kill()
                process.wait()
        self._process = self._zookeeper = None


def _await_acks(acks: Path, expected: int) -> None:
    """The last are on their way when the sink is done; those of records that outlived a kill never come."""
    deadline = time.monotonic() + _ACKS_S
    while _lines(acks) < expected and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _start_zookeeper(folder: Path, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A server without any past; clients that come before it listens try again."""
    folder.mkdir()
    config = folder / "zoo.cfg"
    config.write_text(_ZOOKEEPER_CONFIG.format(folder=folder, port=port, address=_LOOPBACK), "utf-8")
    return start_java("storm", ["-Xmx64m", _ZOOKEEPER, str(config)], log, folder)


def _start(yaml_file: Path, zookeeper: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    folder = yaml_file.parent
    flux_jar = next(jar for jar in jars("storm") if jar.name.startswith("flux-core"))
    # StormSubmitter insists on a jar to upload, also where nothing is uploaded. What a killed cluster leaves behind
    # (ZooKeeper's and Nimbus' folders) goes away with the run's own.
    options = ["-Xmx512m", f"-Dstorm.local.zookeeper={_LOOPBACK}:{zookeeper}"]
    options += [f"-Dstorm.jar={flux_jar}", "-Dstorm.local.sleeptime=86400", f"-Djava.io.tmpdir={folder}"]
    mains = ["org.apache.storm.LocalCluster", "org.apache.storm.flux.Flux", str(yaml_file)]
    key = folder / _KEY
    environment = {KEY_FILE_VARIABLE: str(key)} if key.exists() else {}
    return start_java("storm", [*options, *mains], log, folder, **environment)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@dataclass(frozen=True, slots=True)
class StormTrial:
    """Result of a trial: rows in and out, their equality with the in-process run, and the cost of both.

    ``acks`` says when Storm was done with each record; the same bolts did ``in_process_rate`` records a second here.
    """

    topology: str
    rows_in: int
    rows_out: int
    equal: bool
    in_process_rate: float
    acks: Acks
    starts: int


def storm_trial(
    folder: Path,
    spec: ProcessingSpec,
    schema: str,
    policy: str,
    records: Sequence[Record],
    *,
    schedule: npt.NDArray[np.int64] | None = None,
    topology: Topology = STREAM_TOPOLOGY,
    meanwhile: Callable[[int], None] | None = None,
) -> StormTrial:
    """Run records through Storm and through the same bolts here.

    Args:
        folder: Where source, results and Storm's log go; a new one for every trial.
        spec: The work; its method must be record-wise.
        schema: Name or path of the data set descriptor, for the workers to load.
        policy: Name or path of the policy, likewise.
        records: What the spout emits, in order.
        schedule: When the last of them arrive, counted from when the others are through; by default all are there.
        topology: What to run.
        meanwhile: Called now and then with the number of results; tests use it to kill things.
    """
    job = prepare(folder, spec, schema, policy, records, schedule=schedule)
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
    started = time.perf_counter_ns()
    expected = [anonymize(compliance(ordinal, record)) for ordinal, record in enumerate(records)]
    rate_here = len(records) * 1e9 / (time.perf_counter_ns() - started)
    acks, starts = run_local(job, len(records), topology, meanwhile=meanwhile)
    results = read_results(folder / "results.jsonl")
    equal = all(_is_equal(results.get(outcome.ordinal), outcome) for outcome in expected)
    return StormTrial(topology.name, len(records), len(results), equal, rate_here, acks, starts)


def _is_equal(result: dict[str, Any] | None, expected: Passing) -> bool:
    """Released record and violations, as JSON carries them (tuples become lists)."""
    return result is not None and (
        result["record"] == expected.record
        and result["violations"] == [list(violation) for violation in expected.violations]
    )
