"""Compares a file with its schema: columns that are new, missing or hold other values than they did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from microflow.advise.profile import text_blocks
from microflow.ingest import Quarantine
from microflow.ingest.block import known_as
from microflow.ingest.columns import column_names
from microflow.ingest.typed import typed_column
from microflow.schema import DatasetSchema, Dtype, Role

__all__ = ["Drift", "drift_of"]


@dataclass(frozen=True, slots=True)
class Drift:
    """What differs; ``retyped`` maps a column to how many of its values are not of its type, and the first reason."""

    new: tuple[str, ...]
    missing: tuple[str, ...]
    retyped: dict[str, tuple[int, str]]
    rows: int
    refused: int = 0

    def __bool__(self) -> bool:
        return bool(self.new or self.missing or self.retyped or self.refused)

    def lines(self) -> list[str]:
        """What differs, a line each; no value is shown."""
        return [
            *(f"new: {name!r} is not described" for name in self.new),
            *(f"missing: {name!r} is described and not there" for name in self.missing),
            *(
                f"retyped: {count:,} of {self.rows:,} values of {name!r} do not fit: {reason}"
                for name, (count, reason) in self.retyped.items()
            ),
            *([f"unreadable: {self.refused:,} rows cannot be read as they are described"] if self.refused else []),
        ]


def drift_of(path: Path, schema: DatasetSchema) -> Drift:
    """Read a file and say how it differs from its schema.

    Raises:
        InputError: the file cannot be read.
    """
    names = list(schema.names)
    if schema.source.header:
        names = known_as(column_names(path, schema.source), schema.names)
    there = [column for column in schema.columns if column.name in names]
    new = tuple(name for name in names if name not in schema.names) if schema.others == "refuse" else ()
    missing = tuple(name for name in schema.names if name not in names)
    rows, refused, counts, reasons = 0, 0, Counter[str](), dict[str, str]()
    if there:
        texts = tuple(
            replace(column, role=Role.ATTRIBUTE, dtype=Dtype.STRING, format=None, required=False) for column in there
        )
        with Quarantine() as quarantine:
            text = replace(schema, columns=texts, others="drop")
            for block in text_blocks(path, text, quarantine):
                rows += block.num_rows
                for column in there:
                    _, failures = typed_column(block.column(column.name).combine_chunks(), column)
                    counts[column.name] += len(failures)
                    if failures:
                        reasons.setdefault(column.name, failures[0][1])
            refused = quarantine.total
    retyped = {name: (count, reasons[name]) for name, count in counts.items() if count}
    return Drift(new, missing, retyped, rows, refused)
