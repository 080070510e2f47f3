"""Timing separation: what is inside the clock, and what would be if database work were left in it."""

from __future__ import annotations

import pandas as pd

from microflow.experiments import contamination, whole_job
from microflow.experiments.answers import Answer, per_cent, rounded
from microflow.experiments.matrix import Matrix
from microflow.experiments.results import Results
from microflow.store.experiments import ExperimentStore

__all__ = ["answer", "matrices", "penalty_frame"]

_MEASURE = ["work", "arm", "ratio", "low", "high", "noise_floor"]


def matrices(profile: str) -> tuple[Matrix, ...]:
    """Everything this question runs."""
    return whole_job.matrix(profile), contamination.matrix(profile)


def penalty_frame(results: Results) -> pd.DataFrame:
    """What each intrusion multiplies the measured time by.

    Columns: ``work``, ``arm``, ``ratio``, ``low``, ``high``, ``noise_floor``; the heaviest intrusion first.
    """
    penalties = contamination.penalties(results.trials)
    frame = pd.DataFrame([{name: getattr(one, name) for name in _MEASURE} for one in penalties])
    weight = frame.groupby("arm")["ratio"].max()
    return frame.sort_values(["arm", "work"], key=lambda names: names.map(weight).fillna(0), ascending=False)


def answer(profile: str, store: ExperimentStore) -> Answer:
    """How much of a job is pure processing, and how much a careless clock would have added."""
    jobs = whole_job.phases(Results.read(whole_job.matrix(profile), store)).set_index("arm")
    penalties = contamination.penalties(Results.read(contamination.matrix(profile), store).trials)
    shares = jobs.div(jobs.sum(axis=1), axis=0).loc["batch"].to_dict()
    pure, residual = float(shares["pure_s"]), float(shares["residual_s"])
    rows = {one.work: one for one in penalties if one.arm == "row insert"}
    fast, slow = rows["microflows"], rows["records"]
    numbers = {
        "separation pure share": per_cent(pure),
        "separation residual share": per_cent(residual),
        "separation row insert factor": rounded(fast.ratio),
        "separation row insert share": per_cent(fast.share),
        "separation row insert record factor": rounded(slow.ratio),
    }
    sentence = (
        f"Of a batch job's wall time {per_cent(pure)} is pure processing and {per_cent(residual)} belongs to no phase; "
        f"with one INSERT per record left inside the clock, the same work would have seemed {rounded(fast.ratio)} "
        f"times as long in microflows ({per_cent(fast.share)} of the measured time would have been the database's) and "
        f"{rounded(slow.ratio)} times record by record."
    )
    return Answer(sentence, numbers)
