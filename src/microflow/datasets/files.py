"""Generated records as files: the rows, and their truth apart from them, so that no checker can peek."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from microflow.datasets.generator import generate
from microflow.datasets.pages import TRUTH_SCHEMA
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.ingest import open_writer

__all__ = ["write_dataset"]


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

    ``progress`` is told the number of rows of every block that was written. Both files appear whole or not at all.

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
