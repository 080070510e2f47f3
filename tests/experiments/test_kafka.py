"""What a broker adds is the difference of two arms that did the same work."""

from __future__ import annotations

import numpy as np
import pytest

from lab.made_up import made_up
from microflow.errors import MicroflowError
from microflow.experiments import kafka
from microflow.lab.results import Results
from microflow.lab.trials import Planned

HERE, THERE = kafka.matrix("smoke").arms


def carried(profile: str, checksum: str = "a") -> Results:
    """In process 1 ms, and 5 of 100 records 4 ms; through Kafka 30 ms more, whatever the block's mood."""

    def result(turn: Planned) -> dict[str, object]:
        own = np.array([1e6] * 95 + [4e6] * 5) + 1e5 * turn.block + (3e7 if turn.arm.config["broker"] else 0)
        text = checksum if turn.arm.config["broker"] else "a"
        return {"latency_ns": own.tolist(), "output_checksum": text}

    return made_up(kafka.matrix(profile), result)


def test_what_kafka_adds_is_paired_by_block() -> None:
    """The mood of a block is in both arms, so that the difference has none of it."""
    results = carried("paper")
    assert kafka.table(results).rows[-1] == ["what Kafka adds", "30 [30, 30]", "30 [30, 30]"]
    assert "Kafka adds 30 [30, 30] ms to the median and 30 [30, 30] ms to the p99" in kafka.answer(results).sentence
    assert "within 34.2 ms; the same service in process takes 4.2 ms" in kafka.answer(results).sentence


def test_other_texts_are_no_comparison() -> None:
    """A fast broker that loses or changes records would win."""
    with pytest.raises(MicroflowError, match="not what the service released"):
        kafka.table(carried("smoke", checksum="b"))


def test_in_process_every_record_is_served_once() -> None:
    """For real: latencies are positive, the same seed releases the same texts, another does not."""
    config = HERE.config | {"seconds": 0.8, "seed": 1}
    found, again = kafka.in_process(config), kafka.in_process(config)
    assert min(found["latency_ns"]) > 0
    assert found["output_checksum"] == again["output_checksum"]
    assert found["output_checksum"] != kafka.in_process(config | {"seed": 2})["output_checksum"]


@pytest.mark.skipif(bool(kafka.missing()), reason="no Java, or no jars of Kafka")
def test_through_a_broker_the_same_texts_come_out() -> None:
    """The smallest trial through a real broker."""
    config = THERE.config | {"seconds": 0.8, "seed": 1}
    here, there = kafka.in_process(config), kafka.through_a_broker(config)
    assert there["output_checksum"] == here["output_checksum"]
    assert there["released"] == here["released"]
    assert min(there["latency_ns"]) > 0
