"""Generated data sets: rows by seed, and the files that hold them.

Every block has a seed of its own (``SeedSequence([seed, type, block])``), split into one stream for clean values, one
for look-alikes and one for leaks. So fewer rows are a prefix of more, and another violation rate or
``hard_cases=False`` leaves all other values as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from microflow.datasets.draws import TRUTH_SCHEMA, Draws, Page
from microflow.datasets.ecommerce import ECOMMERCE
from microflow.datasets.financial import FINANCIAL
from microflow.datasets.healthcare import HEALTHCARE
from microflow.datasets.identifiers import look_alikes
from microflow.datasets.iot import IOT
from microflow.datasets.leaks import DataType, spread
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.schema import DatasetSchema
from microflow.sinks.writers import open_writer

__all__ = ["DATA_TYPES", "GeneratedBatch", "generate", "write_dataset"]

_TYPES = {"healthcare": HEALTHCARE, "financial": FINANCIAL, "ecommerce": ECOMMERCE, "iot": IOT}
DATA_TYPES = tuple(_TYPES)
RECORD_ID = "record_id"
#: Rows drawn at a time. Part of what a seed means: another number gives other rows.
_BLOCK_ROWS = 10_000
_MASKED_SHARE, _LOOK_ALIKE_SHARE = 0.02, 0.05


@dataclass(frozen=True, slots=True)
class GeneratedBatch:
    """``rows`` as the data type's schema has them (``record_id`` is the ordinal from 0), and the ``truth`` about them.

    Truth has a row for every violation: ``row`` (the ordinal), ``rule`` of the data type's default policy, ``field``,
    ``start`` and ``end`` (code points where the rule looks inside text, else -1), sorted in that order.
    """

    rows: pa.RecordBatch
    truth: pa.RecordBatch


def generate(
    data_type: str,
    rows: int,
    seed: int,
    *,
    violation_rate: float = 0.085,
    hard_cases: bool = True,
) -> Iterator[GeneratedBatch]:
    """Generate ``rows`` records in blocks of at most 10,000; the same arguments give the same bytes.

    Args:
        data_type: One of `DATA_TYPES`.
        rows: How many.
        seed: Any whole number from 0.
        violation_rate: Share of the records with at least one violation, 0 to 1.
        hard_cases: Also put in what looks like a violation and is none: masked values, order numbers, card numbers
            with a wrong check digit, versions, times.

    Raises:
        InputError: an argument out of range.

    >>> batch = next(generate("healthcare", 1_000, seed=1))
    >>> batch.rows.num_rows, batch.truth.schema.names
    (1000, ['row', 'rule', 'field', 'start', 'end'])
    """
    if data_type not in _TYPES:
        raise InputError(f"no data type {data_type!r}", hint=f"there are: {', '.join(DATA_TYPES)}")
    if rows < 0 or seed < 0 or not 0 <= violation_rate <= 1:
        raise InputError("rows and seed must be 0 or more, the violation rate between 0 and 1")
    return _blocks(data_type, rows, seed, violation_rate, hard_cases=hard_cases)


def _blocks(data_type: str, rows: int, seed: int, rate: float, *, hard_cases: bool) -> Iterator[GeneratedBatch]:
    schema = load_schema(data_type)
    for block, first in enumerate(range(0, rows, _BLOCK_ROWS)):
        sequence = np.random.SeedSequence([seed, DATA_TYPES.index(data_type), block])
        kind = _TYPES[data_type]
        clean, hard, leaks = (Draws(stream, _BLOCK_ROWS) for stream in sequence.spawn(3))
        page = Page(kind.clean(clean), first)
        if hard_cases:
            _put_look_alikes(page, kind, hard)
        spread(page, kind.leaks, rate, leaks)
        wanted = min(_BLOCK_ROWS, rows - first)
        truth = page.truth()
        yield GeneratedBatch(
            _in_order(page, schema).slice(0, wanted), truth.filter(pc.less(truth.column("row"), first + wanted))
        )


def _put_look_alikes(page: Page, kind: DataType, draws: Draws) -> None:
    for name, masks in kind.masks.items():
        masked = np.flatnonzero(draws.hits(_MASKED_SHARE))
        page.put(name, masked, draws.of(len(masked)).words(masks))
    texts = np.flatnonzero(draws.hits(_LOOK_ALIKE_SHARE))
    page.append_text(kind.text, texts, look_alikes(draws.of(len(texts))))


def _in_order(page: Page, schema: DatasetSchema) -> pa.RecordBatch:
    ordinals = np.arange(page.first_row, page.first_row + _BLOCK_ROWS)
    columns = {**page.columns, RECORD_ID: pa.array(ordinals)}
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema.arrow)


def write_dataset(
    data_type: str,
    path: Path,
    rows: int,
    seed: int,
    *,
    truth: Path | None = None,
    violation_rate: float = 0.085,
    hard_cases: bool = True,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Generate a file (CSV, Parquet or JSON Lines, by its suffix), and its truth where a path is given for it.

    ``progress`` is called with the number of rows of every block written. Both files appear whole or not at all.

    Raises:
        InputError: an argument is out of range, a suffix unknown, a folder not writable, or both paths are one.
    """
    if truth is not None and truth.absolute() == path.absolute():
        raise InputError("the rows and their truth need a file each", path=truth)
    batches = generate(data_type, rows, seed, violation_rate=violation_rate, hard_cases=hard_cases)
    with ExitStack() as files:
        # Telephone numbers may begin with a plus: they are data here, and the same in every format.
        schema = load_schema(data_type).arrow
        rows_file = files.enter_context(open_writer(path, schema, escape_formulas=False))
        truth_file = files.enter_context(open_writer(truth, TRUTH_SCHEMA)) if truth else None
        for batch in batches:
            rows_file.write(batch.rows)
            if truth_file is not None:
                truth_file.write(batch.truth)
            if progress is not None:
                progress(batch.rows.num_rows)
