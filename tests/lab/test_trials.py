"""Plans are complete, random and repeatable; what may not be compared is not."""

from __future__ import annotations

import collections
from dataclasses import replace

import pytest

from lab.made_up import launched
from microflow.errors import MicroflowError
from microflow.lab.trials import Arm, Planned, Trial, again, gather, plan, run_trials

A, B, C = (Arm(name, "builtins:dict", {"samples": [1.0, 2.0]}) for name in "abc")


def trial(arm: Arm, block: int, **result: object) -> Trial:
    return Trial(Planned(arm, block, 0, 1), launched({"samples": [1.0], **result}))


def test_every_block_holds_every_arm_once() -> None:
    """Randomised complete blocks: complete, each in its own order, equal data for all arms of a block."""
    turns = plan([A, B, C], blocks=30, seed=5)
    for block in range(30):
        own = [turn for turn in turns if turn.block == block]
        assert sorted(turn.arm.name for turn in own) == ["a", "b", "c"]
        assert [turn.position for turn in own] == [0, 1, 2]
        assert len({turn.seed for turn in own}) == 1
    assert len({turn.seed for turn in turns}) == 30
    firsts = collections.Counter(turn.arm.name for turn in turns if turn.position == 0)
    assert min(firsts[name] for name in "abc") >= 4


def test_a_plan_can_be_made_again() -> None:
    """The seed is all it hangs on, so a resumed experiment goes on with the same plan; more blocks only append."""
    assert plan([A, B], 4, seed=5) == plan([A, B], 9, seed=5)[:8]
    assert plan([A, B], 8, seed=5) != plan([A, B], 8, seed=6)


def test_two_arms_of_one_name_are_refused() -> None:
    """Their samples would be mixed; the A/A arm therefore has a name of its own."""
    with pytest.raises(MicroflowError, match="same name"):
        plan([A, A], 1, seed=1)
    assert again(A) == replace(A, name="a again")


def test_trials_run_and_finished_ones_are_skipped() -> None:
    """The target gets its configuration and the block's seed; what the store holds is not run again."""
    turns = plan([A, B], 2, seed=3)
    done = {(turns[0].arm.name, 0), (turns[1].arm.name, 0), (turns[2].arm.name, 1)}
    trials = list(run_trials(turns, done=done))
    assert [one.planned for one in trials] == [turns[3]]
    assert trials[0].run.result == {"samples": [1.0, 2.0], "seed": turns[3].seed}


def test_gather_cuts_warm_up_and_pairs_blocks() -> None:
    """Samples come back in the order of their blocks, without the slow start of each process."""
    slow = [9.0, 5.0, 1.0, 1.1, 0.9, 1.0, 1.1, 1.0]
    trials = [trial(A, 1, samples=[2.0]), trial(B, 0), trial(B, 1), trial(A, 0, samples=slow)]
    samples = gather(trials)
    assert [list(block) for block in samples["a"]] == [slow[2:], [2.0]]
    assert len(samples["b"]) == 2


def test_unlike_machines_are_not_merged() -> None:
    """Half an experiment here and half elsewhere is no experiment."""
    other = trial(B, 0)
    other = replace(other, run=replace(other.run, machine=replace(other.run.machine, cpu_model="other")))
    with pytest.raises(MicroflowError, match="unlike machines"):
        gather([trial(A, 0), other])


@pytest.mark.parametrize("checksum", ["output_checksum", "data_checksum"])
def test_arms_that_did_not_do_the_same_are_not_compared(checksum: str) -> None:
    """Answers are checked equal before times mean anything; other blocks may have other data."""
    with pytest.raises(MicroflowError, match=f"block 1 differ in {checksum}"):
        gather([trial(A, 1, **{checksum: "x"}), trial(B, 1, **{checksum: "y"})])
    gather([trial(A, 0, **{checksum: "x"}), trial(A, 1, **{checksum: "y"})])


def test_an_incomplete_block_is_refused() -> None:
    """A lost trial would pair blocks that do not belong together."""
    with pytest.raises(MicroflowError, match="incomplete"):
        gather([trial(A, 0), trial(A, 1), trial(B, 0)])
    with pytest.raises(MicroflowError, match="incomplete"):
        gather([trial(A, 0), trial(B, 1)])


def test_side_by_side_gives_the_same_trials_in_the_same_order() -> None:
    """Where nothing is timed two processes run at once; results come in the plan's order, and an error ends it."""
    turns = plan([Arm(name, "builtins:dict", {"name": name}) for name in "abcd"], blocks=1, seed=3)
    once, twice = ([trial.run.result for trial in run_trials(turns, at_once=count)] for count in (1, 2))
    assert once == twice
    broken = [replace(turns[0], arm=Arm("broken", "sys:exit", {})), *turns[1:]]
    with pytest.raises(MicroflowError, match="sys:exit"):
        list(run_trials(broken, at_once=2))
