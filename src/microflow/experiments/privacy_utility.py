"""What each setting of each method gives and takes: risk measured by attack, loss and utility against the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from microflow.assess import Assessment, assess
from microflow.datasets import generate
from microflow.experiments.arms import spec_of
from microflow.experiments.matrix import Matrix
from microflow.experiments.sources import data_checksum
from microflow.microflows import microflows
from microflow.processors import build_processor
from microflow.timing.clock import PhaseClock
from microflow.timing.trials import Arm

if TYPE_CHECKING:
    import pandas as pd

    from microflow.experiments.results import Results

__all__ = ["frontier_frame", "matrix", "trial"]

_TARGET = "microflow.experiments.privacy_utility:trial"


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Release ``rows`` rows on the batch pipeline and attack the release; a target for a fresh process.

    Args:
        config: ``data_type``, ``rows``, ``method`` (fields of `MethodSettings`), ``attempts`` of each attack, ``seed``.

    Returns:
        ``linkage`` (of an attacker who knows every quasi-identifier) and ``singling_out``, each ``risk``, ``low``,
        ``high``; ``loss`` (mean over quasi-identifiers of the larger of NCP and distortion), ``gcp``, ``k``,
        ``suppressed``, and ``kept``, the part of what a model could learn that it still learns (``None`` where
        nothing could be learnt); ``data_checksum`` of the originals.
    """
    spec = spec_of(config)
    rows = [batch.rows for batch in generate(config["data_type"], config["rows"], config["seed"])]
    processor = build_processor(spec)
    done = list(processor.process(microflows(rows), PhaseClock()))
    found = assess(
        pa.Table.from_batches(rows),
        pa.Table.from_batches([one.released for one in done], processor.output_schema),
        np.concatenate([one.ordinals for one in done]),
        spec.schema,
        attempts=config["attempts"],
        seed=config["seed"],
    )
    attack, alone = found.linkage[-1], found.singling_out
    return {
        "linkage": {"risk": attack.risk, "low": attack.low, "high": attack.high},
        "singling_out": {"risk": alone.risk, "low": alone.low, "high": alone.high},
        "loss": _loss(found),
        "gcp": found.loss.gcp,
        "kept": found.utility and found.utility.kept,
        "k": found.achieved.k,
        "suppressed": found.achieved.suppressed,
        "data_checksum": data_checksum(microflows(rows)),
    }


def _loss(found: Assessment) -> float:
    """Labels that are wide lose by NCP, labels that are wrong by distortion: each column counts by the larger."""
    columns = [found.loss.columns[name] for name in found.quasi_identifiers]
    return float(np.mean([max(column.ncp, column.distortion) for column in columns]))


def matrix(experiment: str, cells: Sequence[Mapping[str, Any]], *, rows: int, attempts: int, blocks: int) -> Matrix:
    """One arm a cell; a cell has ``method`` and ``setting`` (its label)."""
    work = {"data_type": "healthcare", "rows": rows, "attempts": attempts}
    arms = [Arm(f"{cell['method']['method']} {cell['setting']}", _TARGET, work | dict(cell)) for cell in cells]
    return Matrix(experiment, tuple(arms), blocks)


def frontier_frame(results: Results) -> pd.DataFrame:
    """Medians over blocks by setting, as `microflow.figures.frontier` wants them; also ``kept``, ``k``, ``suppressed``.

    The risk's interval is the widest of the blocks'; the loss has the blocks' range.
    """
    names = {"method.method": "method", "linkage.risk": "risk", "linkage.low": "risk_low", "linkage.high": "risk_high"}
    frame = results.frame.rename(columns=names)
    found = frame.groupby("arm", sort=False).agg(
        method=("method", "first"), setting=("setting", "first"), risk=("risk", "median"),
        risk_low=("risk_low", "min"), risk_high=("risk_high", "max"), loss=("loss", "median"),
        loss_low=("loss", "min"), loss_high=("loss", "max"), kept=("kept", "median"), k=("k", "min"),
        suppressed=("suppressed", "median"),
    )  # fmt: skip
    return found.reindex([arm.name for arm in results.matrix.arms]).reset_index(drop=True)
