"""Detection accuracy as an experiment: every data type checked against its ground truth, kept in the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from microflow.datasets import GeneratedBatch, generate
from microflow.experiments.accuracy import Accuracy, Counts, by_regulation, measure_accuracy
from microflow.experiments.answers import Answer
from microflow.experiments.matrix import Matrix, scale_of
from microflow.experiments.sources import DataChecksum
from microflow.microflows import microflows
from microflow.timing.trials import Arm

if TYPE_CHECKING:
    import pandas as pd

    from microflow.experiments.results import Results
    from microflow.store.experiments import ExperimentStore

__all__ = ["answer", "detection_frame", "matrix", "measured", "trial"]

_TARGET = "microflow.experiments.detection:trial"
_ROWS = {"smoke": 2_000, "quick": 30_000, "paper": 200_000}
_TYPES = {"smoke": ("healthcare",), "quick": ("healthcare", "financial", "ecommerce", "iot")}


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check ``rows`` records of ``data_type`` with hard cases: ``rules`` (counts of each one) and ``data_checksum``."""
    checksum = DataChecksum()
    found = measure_accuracy(config["data_type"], _records(config, checksum))
    return {"rules": [asdict(one) for one in found], "data_checksum": checksum.hexdigest()}


def _records(config: Mapping[str, Any], checksum: DataChecksum) -> Iterator[GeneratedBatch]:
    """The records with their truth, added to the checksum as they are taken."""
    for batch in generate(config["data_type"], config["rows"], config["seed"]):
        for flow in microflows([batch.rows]):  # a batch is whole microflows, but for the last
            checksum.add(flow.rows)
        yield batch


def matrix(profile: str, *, seed: int = 1) -> Matrix:
    """One trial a data type: counts do not vary from run to run."""
    rows, types = scale_of(_ROWS, profile), _TYPES.get(profile, _TYPES["quick"])
    arms = tuple(Arm(data_type, _TARGET, {"data_type": data_type, "rows": rows}) for data_type in types)
    return Matrix("detection", arms, 1, seed)


def measured(results: Results) -> list[Accuracy]:
    """Every rule on every data type, from the database."""
    rules = [row for trial in results.trials for row in trial.run.result["rules"]]
    return [Accuracy(**{**row, "counts": Counts(**row["counts"])}) for row in rules]


def detection_frame(results: Results) -> pd.DataFrame:
    """Recall and precision by data type and rule, in policy order, as `microflow.figures.accuracy` wants them."""
    import pandas as pd

    rows = []
    for one in measured(results):
        recall, precision = one.counts.recall, one.counts.precision
        rows.append(
            {
                "data_type": one.data_type, "regulation": one.regulation, "rule": one.rule,
                "recall": recall.value, "recall_low": recall.low, "recall_high": recall.high,
                "precision": precision.value, "precision_low": precision.low, "precision_high": precision.high,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def answer(profile: str, store: ExperimentStore) -> Answer:
    """Precision and recall over all rules of each regulation."""
    from microflow.experiments.results import Results

    found = measured(Results.read(matrix(profile), store))
    numbers, said = {}, []
    for regulation, counts in by_regulation(found).items():
        numbers[f"detection {regulation} recall"] = f"{counts.recall.value:.4f}"
        numbers[f"detection {regulation} precision"] = f"{counts.precision.value:.4f}"
        said.append(f"{regulation} {counts.recall.value:.4f} and {counts.precision.value:.4f}")
    reached = sum(one.reaches_goal for one in found)
    numbers["detection rules that reach the goal"] = f"{reached} of {len(found)}"
    sentence = (
        f"Recall and precision against the planted truth, near misses included: {'; '.join(said)}; {reached} of "
        f"{len(found)} rules reach the goal of 0.999 and 0.995."
    )
    return Answer(sentence, numbers)
