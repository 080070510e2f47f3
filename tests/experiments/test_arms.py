"""What a trial does is its own: other threads of its process change nothing that is compared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from microflow.compliance import load_policy
from microflow.experiments import experiment_named
from microflow.experiments.work import throughput
from microflow.lab.reproduction import answers_of


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Another thread of Python's does ``work`` again and again, as long as the block lasts."""
    over = threading.Event()

    def repeat() -> None:
        while not over.is_set():
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def castle() -> dict[str, Any]:
    """The configuration of k-anonymity on a stream, small."""
    arm = next(
        arm
        for arm in experiment_named("rq2-speed").matrix("quick").arms
        if arm.name.endswith("k_anonymity k=5, stream")
    )
    return arm.config | {"rows": 1_000, "passes": 2, "seed": 1}


def test_another_thread_s_calls_are_recorded_and_not_compared() -> None:
    """A file is read elsewhere all the while: the same answers, pure among them, and the evidence tells of it."""
    compared = experiment_named("rq2-speed").same
    alone = throughput(castle())
    with meanwhile(lambda: Path(__file__).read_text("utf-8")):
        beside = throughput(castle())
    assert answers_of(beside, compared) == answers_of(alone, compared)
    assert beside["pure"] is True
    assert sum(one["elsewhere_events"] for one in beside["evidence"]) > 0
    assert sum(one["elsewhere_calls"] for one in beside["evidence"]) > 0


def test_what_this_package_does_in_another_thread_is_held_against_the_trial() -> None:
    """Leaving bystanders out hides nothing of ours: a policy that is read meanwhile makes the trial impure."""
    with meanwhile(lambda: load_policy("hipaa")):
        beside = throughput(castle())
    assert beside["pure"] is False
    assert sum(one["helper_events"] for one in beside["evidence"]) > 0
