"""Apache Kafka: what a real broker adds to the latency of the same service.

One arm serves JSON messages in this process; the other is ``microflow stream`` between two topics of a real broker on
this machine, exactly once: a record is done when a reader of committed records sees it. Both are offered the same
arrivals, and must release the same texts. It may be left out where Java or Kafka's jars are not to be had.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from microflow.engine import ProcessingSpec
from microflow.engine.service import MessageService
from microflow.errors import MicroflowError, SetupError
from microflow.experiments.work import TOKENS, data_checksum, source, spec_of
from microflow.jvm import missing_java
from microflow.lab.arrivals import Schedule, poisson
from microflow.lab.experiment import Experiment, Matrix, scale_of
from microflow.lab.open_loop import OpenLoop, Portions
from microflow.lab.report import Answer, Table, design, rounded, with_interval
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import mean_of
from microflow.lab.trials import Arm

__all__ = ["KAFKA", "answer", "frame", "in_process", "matrix", "missing", "table", "through_a_broker"]

_HERE, _KAFKA = "in process", "Kafka"
_WARM_UP_S = 0.5
#: The stream's process is waited for so long; nothing new for so long is the end.
_START_S, _IDLE_S = 60.0, 3.0
#: Before anything is timed: so many times so many records, one at first.
_WARM_UPS, _WARM_UP_ROWS, _FIRST = 12, 100, b"first"
#: Records a second, seconds, blocks.
_SCALES = {"smoke": (500, 1.0, 1), "quick": (500, 2.0, 1), "paper": (1_000, 5.0, 5)}


def matrix(profile: str) -> Matrix:
    """Healthcare records, tokenized by the hybrid service: here, and from topic to topic."""
    load, seconds, blocks = scale_of(_SCALES, profile)
    work = {"data_type": "healthcare", "method": TOKENS, "load": load, "seconds": seconds}
    arms = (
        Arm(_HERE, f"{__name__}:in_process", work | {"broker": False}),
        Arm(_KAFKA, f"{__name__}:through_a_broker", work | {"broker": True}),
    )
    return Matrix("rq1-kafka", arms, blocks)


def missing() -> str:
    """Reason why Kafka cannot run here; empty if it can. Jars that are not in the cache yet are fetched."""
    if find_spec("confluent_kafka") is None:
        return "confluent_kafka is missing (install the extra kafka)"
    return missing_java("kafka")


class _Offered:
    """Messages, and when each is due."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.schedule: Schedule = poisson(config["load"], config["seconds"], config["seed"])
        flows = list(source(config, len(self.schedule)))
        self.checksum = data_checksum(flows)
        records = [record for flow in flows for record in flow.rows.to_pylist()]
        self.messages = [json.dumps(record, separators=(",", ":")).encode() for record in records]

    def result(self, done_ns: Mapping[int, int], texts: Mapping[int, bytes]) -> dict[str, Any]:
        """Latencies of what was released, and what it was; times count from the schedule's start."""
        digest = hashlib.sha256()
        for ordinal in sorted(texts):
            digest.update(b"%d %s\n" % (ordinal, texts[ordinal]))
        counted = [ordinal for ordinal in sorted(texts) if self.schedule[ordinal] >= _WARM_UP_S * 1e9]
        return {
            "latency_ns": [int(done_ns[ordinal] - self.schedule[ordinal]) for ordinal in counted],
            "released": len(texts),
            "output_checksum": digest.hexdigest(),
            "data_checksum": self.checksum,
        }


def in_process(config: Mapping[str, Any]) -> dict[str, Any]:
    """The service on an in-memory queue.

    Returns:
        ``latency_ns``: of each released record that was due after the warm-up, from when it was due to its result.
        ``released``; checksums, of the released texts too.
    """
    offered, service = _Offered(config), MessageService(spec_of(config), hybrid=True)
    texts: dict[int, bytes] = {}

    def serve(due: range) -> Sequence[int]:
        done: list[int] = []
        for part in service.serve([offered.messages[ordinal] for ordinal in due]):
            texts.update((at, outcome.released) for at, outcome in part.items() if outcome.released is not None)
            done += part
        return done

    run = OpenLoop(offered.schedule).run(Portions(1, service.most), serve)
    return offered.result(dict(enumerate(run.completed_ns.tolist())), texts)


def through_a_broker(config: Mapping[str, Any]) -> dict[str, Any]:
    """Trial from topic to topic, in transactions, in another process.

    Returns:
        As `in_process` does; a record is done when a reader of committed records has it.

    Raises:
        MicroflowError: a record came twice.
        SetupError: broker or stream did not start.
    """
    from microflow.topics.broker import Broker
    from microflow.topics.kafka import KafkaReader, create_topic

    offered, spec = _Offered(config), spec_of(config)
    folder = tempfile.TemporaryDirectory(prefix="microflow-kafka-", ignore_cleanup_errors=True)
    with folder as name, Broker(Path(name)) as broker:
        for topic in ("in", "in.safe", "in.dead"):
            create_topic(broker.address, topic, partitions=2)
        with _stream(broker.address, spec), KafkaReader(broker.address, "in.safe") as reader:
            _warm_up(broker.address, offered.messages, reader)
            return offered.result(*_paced(broker.address, offered, reader))


@contextmanager
def _stream(address: str, spec: ProcessingSpec) -> Iterator[None]:
    """``microflow stream`` with the trial's key, for as long as the block lasts."""
    assert spec.key is not None
    place = f"kafka://{address}/in"
    words = [place, f"{place}.safe", "--schema", spec.schema.name, "--method", spec.method.method.value]
    environment = os.environ | {"MICROFLOW_TOKEN_KEY": spec.key.hex()}
    command = [sys.executable, "-m", "microflow", "stream", *words]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _warm_up(address: str, messages: Sequence[bytes], reader: Any) -> None:
    """Return when the process has served some: while it starts and learns, everything is late."""
    from microflow.topics.kafka import KafkaWriter

    for number in range(_WARM_UPS):
        with KafkaWriter(address, "in") as writer:
            writer.send((_FIRST, text) for text in messages[: _WARM_UP_ROWS if number else 1])
        if not reader.poll(_WARM_UP_ROWS, _IDLE_S if number else _START_S):
            raise SetupError("the stream's process did not start", hint="run the experiment again")
    while reader.poll(_WARM_UP_ROWS, _WARM_UP_S):
        pass


def _paced(address: str, offered: _Offered, reader: Any) -> tuple[dict[int, int], dict[int, bytes]]:
    """Time at which each released record was seen, and its text; a thread appends, this one reads."""
    start = time.perf_counter_ns()
    feeder = threading.Thread(target=_feed, args=(address, offered, start))
    feeder.start()
    done, texts = dict[int, int](), dict[int, bytes]()
    while (got := reader.poll(10_000, _IDLE_S)) or feeder.is_alive():
        now = time.perf_counter_ns() - start
        for received in got:
            ordinal = int(received.key)
            if ordinal in done:
                raise MicroflowError("a record came twice through Kafka", hint="exactly once is broken: report it")
            done[ordinal], texts[ordinal] = now, received.value
    feeder.join()
    return done, texts


def _feed(address: str, offered: _Offered, start: int) -> None:
    """Append each record when it is due, under its ordinal."""
    from microflow.topics.kafka import KafkaWriter

    with KafkaWriter(address, "in") as writer:
        sent, total = 0, len(offered.messages)
        while sent < total:
            time.sleep(max(int(offered.schedule[sent]) - (time.perf_counter_ns() - start), 0) / 1e9)
            due = int(np.searchsorted(offered.schedule, time.perf_counter_ns() - start, "right"))
            writer.send((b"%d" % ordinal, offered.messages[ordinal]) for ordinal in range(sent, due))
            sent = max(due, sent)


def _milliseconds(results: Results, arm: Arm, part: float) -> list[float]:
    """A quantile of each block."""
    return [float(np.quantile(result["latency_ns"], part)) / 1e6 for result in results.of(arm)]


def frame(results: Results) -> Frame:
    """Median and p99 by arm in ms, 95 % intervals over blocks: columns ``arm``, ``p50``, ``p99`` (`Estimate`).

    Raises:
        MicroflowError: the arms of a block released other texts.
    """
    here, kafka = ([result.get("output_checksum") for result in results.of(arm)] for arm in results.matrix.arms)
    if here != kafka:
        raise MicroflowError("what came out of Kafka is not what the service released in process")
    rows = [
        (arm.name, *(mean_of(_milliseconds(results, arm, part)) for part in (0.5, 0.99))) for arm in results.matrix.arms
    ]
    return data_frame(rows, ["arm", "p50", "p99"])


def _added(results: Results, part: float) -> str:
    """Difference that the broker makes to a quantile, block by block, in ms."""
    here, kafka = (_milliseconds(results, arm, part) for arm in results.matrix.arms)
    return with_interval(*mean_of(np.subtract(kafka, here)))


def table(results: Results) -> Table:
    """Latency in process and through the broker, and the difference."""
    rows = [
        [row["arm"], with_interval(*row["p50"]), with_interval(*row["p99"])]
        for row in frame(results).to_dict("records")
    ]
    rows.append(["what Kafka adds", _added(results, 0.5), _added(results, 0.99)])
    config = results.matrix.arms[0].config
    return Table(
        ["", "p50 (ms)", "p99 (ms)"],
        rows,
        f"The same service (hybrid, tokenization, JSON in and out) at {config['load']:,} records/s (Poisson) for "
        f"{config['seconds']:g} s: on a queue in memory, from due to result; and by microflow stream between two "
        "topics of one broker on the same machine, exactly once, from due to seen by a reader of committed records. "
        "The producer's linger of 5 ms is in it. Both released the same texts. Intervals are 95 % over blocks. "
        f"{design(results)}.",
    )


def answer(results: Results) -> Answer:
    """Latency that a broker adds to a record."""
    late = frame(results).set_index("arm")["p99"]
    config = results.matrix.arms[0].config
    numbers = {
        "rq1 kafka load": rounded(config["load"]), "rq1 kafka p99 ms": rounded(late[_KAFKA].value),
        "rq1 kafka here p99 ms": rounded(late[_HERE].value), "rq1 kafka added p50 ms": _added(results, 0.5),
        "rq1 kafka added p99 ms": _added(results, 0.99),
    }  # fmt: skip
    return Answer(
        f"From topic to topic through a real broker, exactly once, 99 of 100 records at {numbers['rq1 kafka load']} "
        f"records/s are committed and seen within {numbers['rq1 kafka p99 ms']} ms; the same service in process takes "
        f"{numbers['rq1 kafka here p99 ms']} ms. Kafka adds {numbers['rq1 kafka added p50 ms']} ms to the median and "
        f"{numbers['rq1 kafka added p99 ms']} ms to the p99, its transactions and the way between processes included.",
        numbers,
    )


KAFKA = Experiment(
    name="rq1-kafka",
    asks="What does a broker add?",
    notebook="rq1",
    matrix=matrix,
    frame=frame,
    answer=answer,
    seconds=lambda config: (16.0 if config["broker"] else 1.5) + float(config["seconds"]),
    same=("output_checksum", "data_checksum"),
    tables={"kafka": table},
    missing=missing,
    optional=True,
)
