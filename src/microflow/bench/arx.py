"""Information loss beside ARX's on Adult, with ARX's own hierarchies.

ARX 3.9.2 was measured by itself on 2026-11-29, on the same 30,162 rows: metric ``Loss``, suppression limit 100 %, local
recoding by `optimizeIterativeFast` with the factor 0 and 0.1 % of the records a step (at 8 columns and k = 50: 1 %).
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.k_anonymity import KAnonymity
from microflow.assess.loss import gcp
from microflow.assess.pair import Pair
from microflow.bench.harness import Line
from microflow.errors import MicroflowError
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role

__all__ = ["arx_adult", "losses"]

_SIX = ("sex", "age", "race", "marital-status", "education", "native-country")
QUASI_IDENTIFIERS = {6: _SIX, 8: (*_SIX, "workclass", "occupation")}
#: GCP of ARX's local recoding, by the number of quasi-identifiers and k.
ARX_LOSS = {(6, 5): 0.020, (6, 10): 0.031, (6, 50): 0.073, (8, 5): 0.054, (8, 10): 0.079, (8, 50): 0.158}
_GOAL = 0.9


def arx_adult(columns: int) -> tuple[DatasetSchema, pa.RecordBatch] | None:
    """Adult as ARX ships it, with 6 or 8 quasi-identifiers.

    From the folder ``MICROFLOW_ARX_ADULT`` or ``shared/data/arx_adult`` beside the project; ``None`` without it.
    """
    beside = Path(__file__).resolve().parents[4] / "shared" / "data" / "arx_adult"
    folder = Path(os.environ.get("MICROFLOW_ARX_ADULT", beside))
    if not (folder / "adult.csv").is_file():
        return None
    table = pacsv.read_csv(folder / "adult.csv", parse_options=pacsv.ParseOptions(delimiter=";"))
    described = [
        Column(
            name,
            Role.QUASI_IDENTIFIER,
            Dtype.INTEGER if name == "age" else Dtype.STRING,
            hierarchy=Hierarchy(parents=_parents(folder / f"adult_hierarchy_{name}.csv")),
        )
        for name in QUASI_IDENTIFIERS[columns]
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


def losses(effort: int = 1) -> Iterator[Line]:
    """One line for each number of quasi-identifiers and k, with nothing suppressed."""
    for (columns, k), theirs in ARX_LOSS.items():
        found = arx_adult(columns)
        if found is None:
            return
        schema, rows = found
        started = time.process_time()
        anonymizer = KAnonymity(MethodSettings(Method.K_ANONYMITY, k=k, effort=effort), schema)
        anonymizer.observe(rows)
        anonymizer.freeze()
        released = anonymizer.anonymize(rows)
        took = time.process_time() - started
        if len(released.kept) < rows.num_rows:
            raise MicroflowError("rows of Adult were suppressed: the losses cannot be compared")
        before, after = (pa.Table.from_batches([batch]) for batch in (rows, released.rows))
        ours = gcp(Pair.of(schema, before, after, released.kept))
        name = f"information loss, Adult of ARX, {columns} columns, k={k}, effort {effort} ({took:.1f} s of CPU)"
        ratio = ours / theirs
        yield Line(name, ours, "GCP", "ARX's local recoding", ratio, goal=f"≤ {_GOAL} ×", holds=ratio <= _GOAL)
