"""What each setting of each method gives and takes: risk measured by attack, loss and utility against the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from microflow.anonymize.contract import Scope
from microflow.assess import Assessment, assess
from microflow.experiments.arms import spec_of
from microflow.experiments.matrix import Matrix
from microflow.experiments.sources import data_checksum, source
from microflow.microflows import Microflow
from microflow.processors import ProcessingSpec, build_processor
from microflow.processors.bolts import releasing
from microflow.processors.scopes import with_scope
from microflow.timing.clock import PhaseClock
from microflow.timing.trials import Arm

if TYPE_CHECKING:
    import pandas as pd

    from microflow.experiments.results import Results

__all__ = ["form_of", "frontier_frame", "matrix", "trial"]

_TARGET = "microflow.experiments.privacy_utility:trial"


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Release ``rows`` rows on a pipeline and attack the release; a target for a fresh process.

    Args:
        config: ``data_type``, ``rows``, ``pipeline``, ``method`` (fields of `MethodSettings`), ``attempts`` of each
            attack, ``seed``.

    Returns:
        ``linkage`` (of an attacker who knows every quasi-identifier) and ``singling_out``, each ``risk``, ``low``,
        ``high``; ``loss`` (mean over quasi-identifiers of the larger of NCP and distortion), ``gcp``, ``k``,
        ``suppressed``, and ``kept``, the part of what a model could learn that it still learns (``None`` where
        nothing could be learnt); ``data_checksum`` of the originals. ``delay_p50`` and ``delay_max``: how many later
        records a record of a stream waited for before it left (0 elsewhere: a file is there as a whole).
    """
    spec, flows = spec_of(config), list(source(config, config["rows"]))
    processor = build_processor(spec, config["pipeline"])
    done = list(processor.process(flows, PhaseClock()))
    found = assess(
        pa.Table.from_batches([flow.rows for flow in flows]),
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
        "data_checksum": data_checksum(flows),
        **_delay(spec, flows if config["pipeline"] == "stream" else []),
    }


def _delay(spec: ProcessingSpec, flows: Sequence[Microflow]) -> dict[str, float]:
    """A second run through the last bolt alone, record by record, because a microflow does not tell who left when."""
    bolt, waited = releasing(with_scope(spec, Scope.STREAM)), [0]
    for now, record in enumerate(record for flow in flows for record in flow.rows.to_pylist()):
        waited += [now - ordinal for ordinal, _ in bolt.release(now, record)]
    return {"delay_p50": float(np.median(waited)), "delay_max": float(max(waited))}


def _loss(found: Assessment) -> float:
    """Labels that are wide lose by NCP, labels that are wrong by distortion: each column counts by the larger."""
    columns = [found.loss.columns[name] for name in found.quasi_identifiers]
    return float(np.mean([max(column.ncp, column.distortion) for column in columns]))


def matrix(experiment: str, cells: Sequence[Mapping[str, Any]], *, rows: int, attempts: int, blocks: int) -> Matrix:
    """One arm a cell; a cell has ``method``, ``setting`` (its label) and ``pipeline``."""
    work = {"data_type": "healthcare", "rows": rows, "attempts": attempts}
    arms = [Arm(f"{_method(cell)} {cell['setting']}", _TARGET, work | dict(cell)) for cell in cells]
    return Matrix(experiment, tuple(arms), blocks)


def form_of(method: str, pipeline: str) -> str:
    """The method, and the pipeline where it works in a form that is not the batch's.

    >>> form_of("k_anonymity", "stream")
    'k_anonymity_stream'
    """
    return method if pipeline == "batch" else f"{method}_{pipeline}"


def _method(config: Mapping[str, Any]) -> str:
    return form_of(config["method"]["method"], config["pipeline"])


def frontier_frame(results: Results) -> pd.DataFrame:
    """Medians over blocks by setting, as `microflow.figures.frontier` wants them.

    Also ``kept``, ``k``, ``suppressed``, ``delay_p50``, ``delay_max``.
    The risk's interval is the widest of the blocks'; the loss has the blocks' range.
    """
    names = {"linkage.risk": "risk", "linkage.low": "risk_low", "linkage.high": "risk_high"}
    methods = {arm.name: _method(arm.config) for arm in results.matrix.arms}
    frame = results.frame.rename(columns=names).assign(method=lambda frame: frame["arm"].map(methods))
    found = frame.groupby("arm", sort=False).agg(
        method=("method", "first"), setting=("setting", "first"), risk=("risk", "median"),
        risk_low=("risk_low", "min"), risk_high=("risk_high", "max"), loss=("loss", "median"),
        loss_low=("loss", "min"), loss_high=("loss", "max"), kept=("kept", "median"), k=("k", "min"),
        suppressed=("suppressed", "median"), delay_p50=("delay_p50", "median"), delay_max=("delay_max", "max"),
    )  # fmt: skip
    return found.reindex([arm.name for arm in results.matrix.arms]).reset_index(drop=True)
