"""What is known of a machine, and which trials may not meet."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import psutil
import pytest

from microflow.errors import MicroflowError
from microflow.lab.launch import Machine, refuse_unlike


def test_this_machine_is_described() -> None:
    """Every field a reader needs is there, and survives JSON."""
    here = Machine.here()
    assert here.cpu_model
    assert 1 <= here.cores <= psutil.cpu_count()
    assert here.memory_bytes == psutil.virtual_memory().total
    assert {"numpy", "polars", "pyarrow", "pyspark"} <= set(here.libraries)
    assert Machine(**json.loads(json.dumps(asdict(here)))) == here


def test_the_commit_is_that_of_the_work_tree() -> None:
    """In a git work tree the commit is a full hash and the flag is known; elsewhere both are unknown together."""
    here = Machine.here()
    assert (here.commit is None) == (here.dirty is None)
    assert here.commit is None or len(here.commit) == 40


@pytest.mark.parametrize(
    "change",
    [{"cpu_model": "another"}, {"cores": 96}, {"memory_bytes": 2**40}, {"governor": "powersave"}, {"python": "3.99"}],
    ids=lambda change: next(iter(change)),
)
def test_unlike_machines_are_refused(change: dict[str, object]) -> None:
    """Times of two machines are two experiments; the error names what differs."""
    here = Machine.here()
    word = next(iter(change)).replace("bytes", "gib")
    with pytest.raises(MicroflowError, match=word):
        refuse_unlike([here, here, replace(here, **change)])


def test_another_library_version_is_another_machine() -> None:
    """Polars of last year is not Polars of today."""
    here = Machine.here()
    with pytest.raises(MicroflowError, match="libraries"):
        refuse_unlike([here, replace(here, libraries={**here.libraries, "polars": "0.1"})])


def test_like_machines_may_meet() -> None:
    """Another commit, or a few pages less after a reboot, are no other machine."""
    here = Machine.here()
    refuse_unlike([here, replace(here, commit="0" * 40, dirty=True, memory_bytes=here.memory_bytes - 2**20)])
    refuse_unlike([])
