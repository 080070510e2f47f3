"""Effort: what does k-anonymity gain when it may search longer, and where does ARX stand?

The data are Adult as ARX ships it (30,162 rows) with ARX's own hierarchies, because a loss means something only beside
another one on the same rows and trees. ARX 3.9.2 was measured by itself on 2026-11-29: metric ``Loss``, suppression
limit 100 %, local recoding by `optimizeIterativeFast` with the factor 0 and 0.1 % of the records a step (at 8 columns
and k = 50: 1 %); its seconds are those of anonymizing and recoding at k = 5 on one core.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from microflow.anonymize.contract import Method, MethodSettings, Released
from microflow.anonymize.k_anonymity import KAnonymity
from microflow.assess.loss import gcp
from microflow.assess.pair import Pair
from microflow.errors import InputError
from microflow.experiments.work import data_checksum, shared_data
from microflow.lab.experiment import Experiment, Matrix, Plot, scale_of
from microflow.lab.report import Answer, Table, design, rounded, with_interval
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import typical
from microflow.lab.trials import Arm
from microflow.records import microflows
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role

__all__ = [
    "ARX_LOSS", "ARX_SECONDS", "EFFORT", "answer", "arx_adult", "frame", "matrix", "missing", "release", "table",
    "trial",
]  # fmt: skip

_SIX = ("sex", "age", "race", "marital-status", "education", "native-country")
_COLUMNS = {6: _SIX, 8: (*_SIX, "workclass", "occupation")}
#: GCP of ARX's local recoding, by the number of quasi-identifiers and k; and its seconds, by their number.
ARX_LOSS = {(6, 5): 0.020, (6, 10): 0.031, (6, 50): 0.073, (8, 5): 0.054, (8, 10): 0.079, (8, 50): 0.158}
ARX_SECONDS = {6: 0.41, 8: 2.9}
_ROWS, _FEW = 30_162, 2_000
_HINT = "MICROFLOW_ARX_ADULT names the folder of ARX's Adult"


#: Numbers of columns, efforts at k = 5, other k at effort 1, blocks.
_SCALES: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]] = {
    "smoke": ((6,), (1, 2), (), 1),
    "quick": ((6, 8), (1, 4), (), 1),
    "paper": ((6, 8), (1, 2, 4, 8), (10, 50), 2),
}


def matrix(profile: str) -> Matrix:
    """Efforts at k = 5 on six and on eight quasi-identifiers, and ARX's other k at effort 1."""
    sizes, efforts, others, blocks = scale_of(_SCALES, profile)
    cells = [
        {"columns": columns, "k": k, "effort": effort, "rows": _ROWS}
        for columns in sizes
        for k, effort in [*((5, effort) for effort in efforts), *((k, 1) for k in others)]
    ]
    name = "{columns} columns: k={k}, effort {effort}"
    arms = tuple(Arm(name.format(**cell), f"{__name__}:trial", cell) for cell in cells)
    return Matrix("rq2-effort", arms, blocks)


def missing() -> str:
    """Reason why this cannot run here: the data belong to ARX and cannot be distributed."""
    return "" if _folder() else f"Adult as ARX ships it is not at hand; {_HINT}"


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Anonymize Adult once, compiled code being warm; a target for a fresh process.

    Returns:
        ``samples``: seconds of this thread's processor, one value; ``loss`` (GCP), ``suppressed``, ``data_checksum``.

    Raises:
        InputError: the data are not at hand.
    """
    found = arx_adult(config["columns"])
    if found is None:
        raise InputError("Adult as ARX ships it is not at hand", hint=_HINT)
    schema, rows = found
    settings = MethodSettings(Method.K_ANONYMITY, k=config["k"], effort=config["effort"])
    release(settings, schema, rows.slice(0, _FEW))
    started = time.thread_time_ns()
    released = release(settings, schema, rows)
    seconds = (time.thread_time_ns() - started) / 1e9
    before, after = (pa.Table.from_batches([batch]) for batch in (rows, released.rows))
    return {
        "samples": [seconds],
        "loss": gcp(Pair.of(schema, before, after, released.kept)),
        "suppressed": rows.num_rows - len(released.kept),
        "data_checksum": data_checksum(microflows([rows])),
    }


def release(settings: MethodSettings, schema: DatasetSchema, rows: pa.RecordBatch) -> Released:
    """All rows in classes of the whole data set."""
    anonymizer = KAnonymity(settings, schema)
    anonymizer.observe(rows)
    anonymizer.freeze()
    return anonymizer.anonymize(rows)


def _folder() -> Path | None:
    folder = shared_data("MICROFLOW_ARX_ADULT", "arx_adult")
    return folder if (folder / "adult.csv").is_file() else None


def arx_adult(columns: int) -> tuple[DatasetSchema, pa.RecordBatch] | None:
    """Adult as ARX ships it, with 6 or 8 quasi-identifiers and ARX's hierarchies; ``None`` where it is not at hand."""
    folder = _folder()
    if folder is None:
        return None
    table = pacsv.read_csv(folder / "adult.csv", parse_options=pacsv.ParseOptions(delimiter=";"))
    described = [
        Column(
            name,
            Role.QUASI_IDENTIFIER,
            Dtype.INTEGER if name == "age" else Dtype.STRING,
            hierarchy=Hierarchy(parents=_parents(folder / f"adult_hierarchy_{name}.csv")),
        )
        for name in _COLUMNS[columns]
    ]
    schema = DatasetSchema("adult", (*described, Column("salary-class", Role.SENSITIVE)), "hipaa")
    return schema, table.select(schema.names).cast(schema.arrow).combine_chunks().to_batches()[0]


def _parents(path: Path) -> dict[str, str]:
    """A file of ARX's (a value a line, its ancestors behind it) as parents; the root needs no name."""
    parents: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.reader(file, delimiter=";"):
            path_up = [node for i, node in enumerate(line[:-1]) if i == 0 or node != line[i - 1]]
            parents.update(pairwise(path_up))
    return parents


def frame(results: Results) -> Frame:
    """Results by arm: ``columns``, ``k``, ``effort``, ``loss``, ``suppressed``, ``arx_loss``, ``arx_seconds``.

    Also ``seconds``, ``low`` and ``high``: the typical time over blocks with its 95 % interval.
    """
    rows = []
    for arm in results.matrix.arms:
        own, config = results.of(arm), arm.config
        seconds = typical([result["samples"] for result in own])
        rows.append({
            "columns": config["columns"], "k": config["k"], "effort": config["effort"],
            "seconds": seconds.value, "low": seconds.low, "high": seconds.high,
            "loss": float(np.mean([result["loss"] for result in own])),
            "suppressed": max(result["suppressed"] for result in own),
            "arx_loss": ARX_LOSS[config["columns"], config["k"]],
            # ARX was timed at k = 5 alone.
            "arx_seconds": ARX_SECONDS[config["columns"]] if config["k"] == 5 else np.nan,  # noqa: PLR2004
        })  # fmt: skip
    return data_frame(rows)


def table(results: Results) -> Table:
    """Loss and time of each effort beside ARX's."""
    rows = [
        [
            f"{row['columns']} columns, k={row['k']}, effort {row['effort']}",
            f"{row['loss']:.4f}", f"{row['arx_loss']:.3f}", f"{row['loss'] / row['arx_loss']:.2f}×",
            with_interval(row["seconds"], row["low"], row["high"]),
            "" if np.isnan(row["arx_seconds"]) else f"{row['arx_seconds']:g}",
        ]
        for row in frame(results).to_dict("records")
    ]  # fmt: skip
    return Table(
        ["setting", "loss", "ARX's loss", "beside ARX's", "CPU s", "ARX's s"],
        rows,
        "Information loss (GCP) of all rows of Adult as ARX ships it, with its own hierarchies and nothing suppressed, "
        "and processor time of one thread. ARX 3.9.2 was measured by itself on 2026-11-29, local recoding included, so "
        f"that its times have no ratio. {design(results)}.",
    )


def answer(results: Results) -> Answer:
    """Loss at the default effort beside ARX, and the gain of more effort."""
    found = frame(results)
    numbers, said = {}, []
    for columns, own in found[found["k"] == found["k"].iloc[0]].groupby("columns", sort=False):
        first, last = own.iloc[0], own.iloc[-1]
        name = f"rq2 effort {columns} columns"
        numbers[f"{name} beside ARX"] = f"{first['loss'] / first['arx_loss']:.2f}×"
        numbers[f"{name} gain"] = f"{1 - last['loss'] / first['loss']:.1%}"
        numbers[f"{name} time"] = f"{last['seconds'] / first['seconds']:.1f}×"
        said.append(
            f"on {columns} columns {numbers[f'{name} beside ARX']} of ARX's loss in {rounded(first['seconds'])} s; an "
            f"effort of {last['effort']:g} loses {numbers[f'{name} gain']} less in {numbers[f'{name} time']} the time"
        )
    return Answer(f"With ARX's hierarchies and k=5, the default effort loses {'; '.join(said)}.", numbers)


def _seconds(config: Mapping[str, Any]) -> float:
    once = {6: 0.45, 8: 2.2}[config["columns"]] * {5: 1.0, 10: 1.3, 50: 2.0}[config["k"]]
    return 1.0 + once * (0.5 + 0.5 * float(config["effort"]))


EFFORT = Experiment(
    name="rq2-effort",
    asks="Is a longer search for classes worth its time?",
    notebook="rq2",
    matrix=matrix,
    frame=frame,
    answer=answer,
    same=("loss", "suppressed", "data_checksum"),
    seconds=_seconds,
    tables={"effort": table},
    plot=Plot(
        "effort",
        "effort",
        "Information loss of k-anonymity at k=5 against the processor time that it may take, by effort (written beside "
        "its mark), on Adult with ARX's own hierarchies; crosses are ARX 3.9.2 with local recoding, measured by itself "
        "on 2026-11-29.",
    ),
    missing=missing,
    optional=True,
)
