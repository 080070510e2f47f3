"""Cells are named by what decides their result, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.errors import MicroflowError
from microflow.lab.experiment import Matrix, config_hash, scale_of
from microflow.lab.trials import Arm, Planned, again

BATCH = Arm("batch", "module:function", {"rows": 10, "data_type": "iot"})


def test_every_arm_runs_once_in_every_block() -> None:
    """Complete blocks: arms × blocks cells, all with hashes of their own."""
    cells = Matrix("rq1", (BATCH, again(BATCH)), blocks=4).cells()
    turns = {(turn.arm.name, turn.block) for turn in cells.values()}
    assert turns == {(arm, block) for arm in ("batch", "batch again") for block in range(4)}


def test_a_growing_matrix_keeps_its_cells() -> None:
    """More blocks or one more arm do not make what has run run again."""
    small = Matrix("rq1", (BATCH,), blocks=2).cells()
    grown = Matrix("rq1", (BATCH, Arm("stream", "module:function", {})), blocks=5).cells()
    assert small.keys() < grown.keys()


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.floats(allow_nan=False)), max_size=5))
def test_the_hash_ignores_order_and_position(config: dict[str, object]) -> None:
    """The same configuration written in another order, or met at another place of its block, is the same cell."""
    turned = dict(reversed(config.items()))
    one = Planned(Arm("a", "m:f", config), 0, 0, 7)
    other = Planned(Arm("a", "m:f", turned), 0, 3, 7)
    assert config_hash("e", one) == config_hash("e", other)


@pytest.mark.parametrize(
    "changed",
    [
        Planned(BATCH, 1, 0, 7),
        Planned(BATCH, 0, 0, 8),
        Planned(again(BATCH), 0, 0, 7),
        Planned(Arm("batch", "module:other", BATCH.config), 0, 0, 7),
        Planned(Arm("batch", "module:function", BATCH.config | {"rows": 11}), 0, 0, 7),
    ],
)
def test_the_hash_sees_everything_else(changed: Planned) -> None:
    """Block, seed, arm, target and configuration each make another cell."""
    assert config_hash("e", changed) != config_hash("e", Planned(BATCH, 0, 0, 7))


def test_an_unknown_profile_names_the_known_ones() -> None:
    """A typing error ends in a hint, not in a default."""
    with pytest.raises(MicroflowError, match="smoke, quick"):
        scale_of({"smoke": 1, "quick": 2}, "quik")
