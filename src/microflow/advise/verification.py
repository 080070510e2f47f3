"""Verification of a release by an independent count: k, l, t and the average risk against the requirements.

Nothing of the method is used, nor of its input: classes are the rows that a reader cannot tell apart. Where the schema
has a column of role person, its distinct values are counted, and a person counts once for each of their values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.diversity import diverse_columns
from microflow.anonymize.k_anonymity import require_classes
from microflow.assess.labels import Index, distinct
from microflow.assess.pair import ColumnHeld, column_held, counted, group
from microflow.errors import InputError, MicroflowError
from microflow.schema import DatasetSchema
from microflow.sources import Quarantine, read_microflows

__all__ = ["Verification", "stated", "verified"]

#: Microflows counted together before they are merged: fewer merges, bounded memory.
_GROUP = 200
#: A name that no column of a file has.
_ROWS = "\0rows"
#: Rounding of sums of floats turns nothing away that meets a bound exactly.
_SLACK = 1e-9
#: Of what a document of metrics states: what it means when it is left out (k never is), the least and the most.
_STATED = {
    "k": (0, 2, 2**62), "l_diversity": (1, 1, 2**62), "l_recursive": (0.0, 0.0, 1e300), "t_closeness": (1.0, 0.0, 1.0)
}  # fmt: skip


def _cells(file: Path, schema: DatasetSchema, sensitive: Iterable[str]) -> tuple[dict[str, pa.ChunkedArray], Index]:
    """The different combinations of quasi-identifiers, sensitive values and person, and the rows of each."""
    keys = [column.name for column in schema.quasi_identifiers] + list(sensitive)
    keys += [] if schema.person is None else [schema.person]

    def merged(parts: list[pl.DataFrame]) -> pl.DataFrame:
        return pl.concat(parts).group_by(keys).agg(pl.col(_ROWS).sum())

    parts = [pl.DataFrame(schema={**dict.fromkeys(keys, pl.String), _ROWS: pl.Int64})]
    quarantine = Quarantine()
    # Text, as a release writes it, whatever the type was before.
    for flow in read_microflows(file, schema.released(), quarantine=quarantine):
        rows = pl.DataFrame(flow.rows.select(keys))
        parts.append(rows.group_by(keys).agg(pl.len().cast(pl.Int64).alias(_ROWS)))
        if len(parts) == _GROUP:
            parts = [merged(parts)]
    quarantine.require_none(file)
    cells = merged(parts)
    return {name: pa.chunked_array([cells[name].to_arrow()]) for name in keys}, cells[_ROWS].to_numpy()


@dataclass(frozen=True)
class Verification:
    """Counts of a release, and the requirements on it.

    Attributes:
        required: k, l and t.
        most_average_risk: The greatest mean, over the members, of 1 over the size of their class; 1 asks for nothing.
        unit: What is counted, ``person`` or ``row``.
        rows: Of the file.
        k: Members of the smallest class.
        classes: How many there are.
        classes_below: Classes with fewer members than required.
        rows_below: The rows of these.
        average_risk: Classes over members: what an attacker gets right who knows everybody's quasi-identifiers.
        columns: By sensitive column; empty where no l and no t is required.
    """

    required: MethodSettings
    most_average_risk: float
    unit: str
    rows: int
    k: int
    classes: int
    classes_below: int
    rows_below: int
    average_risk: float
    columns: Mapping[str, ColumnHeld]

    @property
    def is_satisfied(self) -> bool:
        """True if the release meets all requirements."""
        return all(holds for holds, _ in self._judged())

    def lines(self) -> list[str]:
        """One line for each requirement, and a verdict where there are several."""
        judged = list(self._judged())
        lines = [text if holds else f"not {text}" for holds, text in judged]
        if len(judged) > 1:
            failed = sum(not holds for holds, _ in judged)
            lines.append(f"verdict: {f'failed, {failed} of {len(judged)} requirements' if failed else 'passed'}")
        return lines

    def _judged(self) -> Iterator[tuple[bool, str]]:
        """Verdict on each requirement, in words that "not" may stand before."""
        asked, members = self.required, self.unit if self.k == 1 else f"{self.unit}s"
        said = f"{self.rows:,} rows in {self.classes:,} classes, the smallest has {self.k} {members}"
        if self.classes_below:
            said = f"the smallest of {self.classes:,} classes has {self.k} {members}; {self.classes_below:,} classes"
            said += f" with {self.rows_below:,} rows are below {asked.k}"
        yield not self.classes_below, f"{asked.k}-anonymous: {said}"
        for name, held in self.columns.items():
            yield from _judged_column(asked, name, held)
        if self.most_average_risk < 1:
            holds = self.average_risk <= self.most_average_risk + _SLACK
            yield holds, f"within the average risk of {self.most_average_risk:g}: it is {self.average_risk:.4g}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready. ``k`` and its counts, ``average_risk``, and what was required besides with what is held."""
        asked = self.required
        found: dict[str, Any] = {
            "k": self.k,
            "required_k": asked.k,
            "satisfied": self.is_satisfied,
            "failures": [text for holds, text in self._judged() if not holds],
            "unit": self.unit,
            "rows": self.rows,
            "classes": self.classes,
            "classes_below": self.classes_below,
            "rows_below": self.rows_below,
            "average_risk": self.average_risk,
            "highest_risk": 1 / self.k,
        }
        if self.most_average_risk < 1:
            found["required_average_risk"] = self.most_average_risk
        if self.columns:
            kind = "entropy" if asked.l_entropy else "recursive" if asked.l_recursive else "distinct"
            found |= {"required_l": asked.l_diversity, "l_kind": kind, "required_t": asked.t_closeness}
            found["columns"] = {
                name: {
                    "l": held.l_distinct,
                    "l_entropy": held.l_entropy,
                    "recursive_c": held.recursive_c if math.isfinite(held.recursive_c) else None,
                    "t": held.t,
                }
                for name, held in self.columns.items()
            }
        return found


def _judged_column(asked: MethodSettings, name: str, held: ColumnHeld) -> Iterator[tuple[bool, str]]:
    least = asked.l_diversity
    if asked.l_entropy:
        holds = math.log(held.l_entropy) >= math.log(least) - _SLACK
        yield holds, f"entropy {least}-diverse in {name}: the weakest class has {held.l_entropy:.4g}"
    elif least > 1:
        yield held.l_distinct >= least, f"{least}-diverse in {name}: the weakest class has {held.l_distinct} values"
    if asked.l_recursive:
        holds = held.recursive_c < asked.l_recursive * (1 - _SLACK)
        yield holds, f"recursively ({asked.l_recursive:g}, {least})-diverse in {name}: c is {held.recursive_c:.4g}"
    if asked.t_closeness < 1:
        holds = held.t <= asked.t_closeness + _SLACK
        yield holds, f"{asked.t_closeness:g}-close in {name}: the farthest class is {held.t:.4g} from everybody"


def verified(file: Path, schema: DatasetSchema, required: MethodSettings, average_risk: float = 1.0) -> Verification:
    """Count a released file and hold it against what is required.

    Members are the distinct persons where the schema has a column of role person, and the rows otherwise. Rows whose
    person is missing count as one person together, so that k is never overstated; where no row names a person, as after
    a method that removes identifiers, rows are counted. Memory is bounded by what is different.

    l and t are those of every sensitive column that is not a number, and t is held against everybody in the file: rows
    that were suppressed are not there to be compared with.

    Raises:
        InputError: the file cannot be read, or holds no rows.
        MicroflowError: what is required does not fit together, or there is no column to hold it in.
    """
    require_classes(required, schema)
    if required.l_entropy and required.l_diversity <= 1:
        raise MicroflowError("entropy l-diversity takes an l of at least 2", hint="such as --l 3 --l-entropy")
    columns = diverse_columns(required, schema)
    cells, rows = _cells(file, schema, [column.name for column in columns])
    if not len(rows):
        raise InputError("there are no rows to verify", path=file)
    codes = [distinct(cells[column.name])[0] for column in schema.quasi_identifiers]
    classes, _, _ = group(codes, len(rows))
    persons, name = None, schema.person
    if name is not None and cells[name].null_count < len(rows):
        persons = distinct(cells[name])[0]
    members = counted(classes, rows, persons)[1]
    small = members < required.k
    return Verification(
        required=required,
        most_average_risk=average_risk,
        unit="row" if persons is None else "person",
        rows=int(rows.sum()),
        k=int(members.min()),
        classes=len(members),
        classes_below=int(small.sum()),
        rows_below=int(rows[small[classes]].sum()),
        average_risk=len(members) / int(members.sum()),
        columns={
            column.name: column_held(
                column, cells[column.name], classes, rows=rows, persons=persons, least=required.l_diversity
            )
            for column in columns
        },
    )


def stated(document: Any, path: Path) -> MethodSettings:
    """Settings that the document of ``microflow run --metrics`` states.

    Raises:
        InputError: it is no such document, or its method is not k-anonymity.
    """
    method = document.get("method") if isinstance(document, dict) else None
    if not isinstance(method, dict):
        raise InputError("no document of metrics", path=path, hint="name the file that 'microflow run --metrics' wrote")
    if method.get("method") != Method.K_ANONYMITY.value:
        raise InputError("its method is not k-anonymity: no k, l or t was asked for", path=path)
    found: dict[str, Any] = {}
    for name, (plain, least, most) in _STATED.items():
        found[name] = method.get(name, plain)
        if type(found[name]) not in (type(plain), int) or not least <= found[name] <= most:
            raise InputError(f"{name} is not from {least:g} to {most:g}", path=path)
    return MethodSettings(Method.K_ANONYMITY, l_entropy=method.get("l_entropy") is True, **found)
