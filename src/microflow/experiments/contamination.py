"""Contamination: what would the clock have shown, had database work stayed inside it? The before/after table, measured.

The same pure work is timed clean and with one kind of intrusion inside the clock. Every arm holds the same open
connection, sees the same data and must release the same rows; only what happens between start and stop differs. The
work comes in two speeds, as microflows and record by record: the faster the work, the more an intrusion hides. An
INSERT of documents needs them as dictionaries and JSON first: that conversion is an arm of its own, so that the
database's own time can be separated from it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg2
import pyarrow as pa
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's own class is in lower case
from psycopg2.extras import Json, execute_values

from microflow.engine import ProcessingSpec
from microflow.engine.kernel import BatchKernel
from microflow.engine.stream import AnonymizeBolt, ComplianceBolt
from microflow.experiments.work import TOKENS, source, spec_of
from microflow.lab.experiment import Experiment, Matrix, Plot, Precision, ratios_to, scale_of
from microflow.lab.report import UNKNOWN, Answer, Table, comparison_cells, design, family, per_cent, ratio_text, rounded
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import Analysis, compare
from microflow.lab.trials import Arm, again, gather
from microflow.schema import Record
from microflow.settings import Settings
from microflow.store.database import driver_dsn
from microflow.store.server import ensure_server
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard

__all__ = [
    "CLEAN", "CONTAMINATION", "CONVERSION", "INTRUSIONS", "WORKS", "Place", "analyses", "answer", "frame", "matrix",
    "open_place", "table", "trial",
]  # fmt: skip

#: What a microflow's work gives: Arrow from the batch engine, records from the stream engine.
Rows: TypeAlias = "pa.RecordBatch | list[Record]"

CLEAN, CONVERSION = "clean", "conversion"
#: A progress row is updated as often as this while a microflow is processed.
RECORDS_PER_PROGRESS = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Target of the intrusions: a cursor that commits each statement, two tables, and a file."""

    cursor: Cursor
    rows_table: sql.Identifier
    progress_table: sql.Identifier
    checkpoint: Path


def documents(rows: Rows) -> list[Record]:
    """The rows as a database driver wants them: for Arrow a conversion, which is part of the intrusion."""
    return rows if isinstance(rows, list) else rows.to_pylist()


def clean(place: Place, rows: Rows) -> None:
    """Do no database work inside the clock."""


def conversion(_: Place, rows: Rows) -> None:
    """The rows as JSON texts, and no database: what an INSERT of documents needs before the driver is called."""
    for row in documents(rows):
        json.dumps(row)


def row_insert(place: Place, rows: Rows) -> None:
    """A single-row INSERT per record, each committed: the seed's "N × DB overhead"."""
    statement = sql.SQL("INSERT INTO {} (document) VALUES (%s)").format(place.rows_table)
    for row in documents(rows):
        place.cursor.execute(statement, (Json(row),))


def progress_update(place: Place, rows: Rows) -> None:
    """A progress row updated and committed every `RECORDS_PER_PROGRESS` records."""
    statement = sql.SQL("UPDATE {} SET done = done + %s").format(place.progress_table)
    for start in range(0, len(rows), RECORDS_PER_PROGRESS):
        place.cursor.execute(statement, (min(RECORDS_PER_PROGRESS, len(rows) - start),))


def batch_insert(place: Place, rows: Rows) -> None:
    """One INSERT of all rows per microflow, committed: better, and still inside the clock."""
    statement = sql.SQL("INSERT INTO {} (document) VALUES %s").format(place.rows_table)
    execute_values(place.cursor, statement, [(Json(row),) for row in documents(rows)], page_size=max(1, len(rows)))


def checkpoint_fsync(place: Place, rows: Rows) -> None:
    """A checkpoint file per microflow, written, synchronised with the disk and renamed into place."""
    written = place.checkpoint.with_suffix(".new")
    with written.open("w", encoding="utf-8") as stream:
        json.dump({"rows": len(rows)}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    written.replace(place.checkpoint)


Intrusion = Callable[[Place, Rows], None]

#: What is done inside the clock after each microflow's work, by name.
INTRUSIONS: dict[str, Intrusion] = {
    CLEAN: clean,
    CONVERSION: conversion,
    "row insert": row_insert,
    "progress update": progress_update,
    "batch insert": batch_insert,
    "checkpoint fsync": checkpoint_fsync,
}


@contextmanager
def open_place() -> Iterator[Place]:
    """Tables of our own in ``DATABASE_URL``'s (or the embedded) database, and a file; gone afterwards.

    The tables are logged, as any that are meant to last, so that a commit costs what it costs.
    """
    name = f"contamination_{uuid.uuid4().hex[:12]}"
    rows, progress = sql.Identifier(f"{name}_rows"), sql.Identifier(f"{name}_progress")
    create = sql.SQL(
        "CREATE TABLE {rows} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, document jsonb NOT NULL,"
        " created_at timestamptz NOT NULL DEFAULT now()); CREATE TABLE {progress} (done bigint NOT NULL);"
        " INSERT INTO {progress} VALUES (0)"
    ).format(rows=rows, progress=progress)
    settings = Settings.read()
    state = settings.state_folder
    with closing(psycopg2.connect(driver_dsn(settings.database_url or ensure_server()))) as connection:
        connection.autocommit = True
        # Not the system's temporary folder: that may be memory, where synchronising costs nothing.
        state.mkdir(parents=True, exist_ok=True)
        with connection.cursor() as cursor, tempfile.TemporaryDirectory(dir=state) as folder:
            cursor.execute(create)
            try:
                yield Place(cursor, rows, progress, Path(folder) / "checkpoint.json")
            finally:
                cursor.execute(sql.SQL("DROP TABLE {}, {}").format(rows, progress))


Work = Callable[[pa.RecordBatch], Rows]


def as_microflows(spec: ProcessingSpec) -> Work:
    """The batch engine's kernel, a microflow at a time."""
    kernel = BatchKernel(spec)
    return lambda rows: kernel.run(rows)[0].rows


def as_records(spec: ProcessingSpec) -> Work:
    """The stream engine's bolts, a record at a time."""
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)

    def work(rows: pa.RecordBatch) -> list[Record]:
        passed = (anonymize(compliance(row, record)) for row, record in enumerate(rows.to_pylist()))
        return [passing.record for passing in passed if passing.record is not None]

    return work


WORKS: dict[str, Callable[[ProcessingSpec], Work]] = {"microflows": as_microflows, "records": as_records}


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Time ``config["passes"]`` passes over the same rows with one intrusion; a target for a fresh process.

    Args:
        config: ``work`` and ``intrusion`` (keys of `WORKS` and `INTRUSIONS`), ``data_type``, ``rows``, ``passes``,
            ``seed``. The database is ``DATABASE_URL``'s or the embedded one.

    Returns:
        ``samples``: nanoseconds inside the clock per record, one value a pass; ``microflow_ns``: the same per
        microflow; ``records``, checksums, and ``evidence``, what the guard saw (clean arms only: it would refuse the
        others).
    """
    spec, flows = spec_of({**config, "method": TOKENS}), [flow.rows for flow in source(config, config["rows"])]
    work, intrude = WORKS[config["work"]](spec), INTRUSIONS[config["intrusion"]]
    outputs = [work(rows) for rows in flows]  # also the warm-up: whatever loads lazily has loaded before the clock
    clock = PhaseClock(PurityGuard() if config["intrusion"] == CLEAN else None)
    samples = []
    with open_place() as place:
        for _ in range(config["passes"]):
            before = clock.pure_ns
            for rows in flows:
                with clock.pure():
                    intrude(place, work(rows))
            samples.append((clock.pure_ns - before) / config["rows"])
    return {
        "samples": samples,
        "microflow_ns": list(clock.pure_spans),
        "records": config["rows"],
        "data_checksum": _checksum(rows.to_pylist() for rows in flows),
        "output_checksum": _checksum(documents(rows) for rows in outputs),
        "evidence": [] if clock.guard is None else [asdict(clock.guard.evidence)],
    }


def _checksum(parts: Iterable[list[Record]]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(json.dumps(part, default=str).encode())
    return digest.hexdigest()


_FEW = (CLEAN, CONVERSION, "row insert")
#: Rows, passes, intrusions, blocks and precision.
_SCALES: dict[str, tuple[int, int, tuple[str, ...], int, Precision | None]] = {
    "smoke": (200, 2, _FEW, 2, None),
    "quick": (400, 3, _FEW, 2, None),
    "paper": (1_000, 4, tuple(INTRUSIONS), 6, Precision(0.05, CLEAN, most=9)),
}


def matrix(profile: str) -> Matrix:
    """Every work with every intrusion, and the clean arms once more as the noise floor."""
    rows, passes, intrusions, blocks, precision = scale_of(_SCALES, profile)
    shared = {"data_type": "healthcare", "rows": rows, "passes": passes}
    arms = [
        Arm(f"{work}: {intrusion}", f"{__name__}:trial", shared | {"work": work, "intrusion": intrusion})
        for work, intrusion in itertools.product(WORKS, intrusions)
    ]
    arms += [again(arm) for arm in arms if arm.config["intrusion"] == CLEAN]
    return Matrix("contamination", tuple(arms), blocks, precision=precision)


def analyses(results: Results) -> dict[str, Analysis]:
    """Analysis of each kind of work: the time of each intrusion beside the clean arm's.

    Raises:
        MicroflowError: unlike machines, unequal outputs or incomplete blocks.
    """
    samples, found = gather(results.trials), {}
    for work in WORKS:
        own = {name.removeprefix(f"{work}: "): blocks for name, blocks in samples.items() if name.startswith(work)}
        found[work] = compare(own, CLEAN, f"{CLEAN} again")
    return found


def frame(results: Results) -> Frame:
    """Factor by which each intrusion multiplies the measured time, for `microflow.figures.charts`.

    Columns: ``work``, ``arm``, ``ratio``, ``low``, ``high``, ``noise_floor``; the heaviest intrusion first.
    """
    rows = [
        (work, found.arm, *found.ratio, analysis.noise_floor)
        for work, analysis in analyses(results).items()
        for found in analysis.comparisons
    ]
    frame = data_frame(rows, ["work", "arm", "ratio", "low", "high", "noise_floor"])
    weight = frame.groupby("arm")["ratio"].max()
    return frame.sort_values(["arm", "work"], key=lambda names: names.map(weight).fillna(0), ascending=False)


def table(results: Results) -> Table:
    """Table of the effect of each kind of database work inside the clock, for both kinds of work."""
    found = analyses(results)
    rows = []
    for work, analysis in found.items():
        for comparison in analysis.comparisons:
            ratio = ratio_text(comparison.ratio)
            low, high = (1 - 1 / end for end in (comparison.ratio.low, comparison.ratio.high))
            share = UNKNOWN if ratio == UNKNOWN else f"{1 - 1 / comparison.ratio.value:.1%} [{low:.1%}, {high:.1%}]"
            rows.append([f"{comparison.arm}, {work}", ratio, share, *comparison_cells(comparison)[1:]])
    families = "; ".join(f"{work}: {family(analysis)}" for work, analysis in found.items())
    return Table(
        ["inside the clock", "measured beside clean", "not processing", "p different", "p equivalent", "answer"],
        rows,
        "Time inside the clock with one kind of work left in it, and the part of it that is not processing. Both "
        "INSERTs convert rows to dictionaries and JSON first; conversion alone is an arm of its own, and what an "
        f"INSERT takes beyond it is the database's. Intervals are 95 % over blocks. {families}. {design(results)}.",
    )


def answer(results: Results) -> Answer:
    """Time that a careless clock would have added, and the part of it that is conversion."""
    found = analyses(results)
    numbers, said = {}, []
    for work, name in (("microflows", "in microflows"), ("records", "record by record")):
        insert, converted = found[work]["row insert"].ratio, found[work][CONVERSION].ratio
        key = "separation row insert" if work == "microflows" else "separation row insert record"
        numbers[f"{key} factor"], numbers[f"{key} conversion"] = ratio_text(insert), ratio_text(converted)
        numbers[f"{key} share"] = per_cent(1 - 1 / insert.value)
        numbers[f"{key} database share"] = per_cent(1 - converted.value / insert.value)
        said.append(
            f"{name} {numbers[f'{key} factor']} as long (conversion to JSON alone: {numbers[f'{key} conversion']}; the "
            f"database's own part of the measured time: {numbers[f'{key} database share']})"
        )
    config = results.matrix.arms[0].config
    return Answer(
        f"With one INSERT per record left inside the clock, the same work on {rounded(config['rows'])} records would "
        f"have seemed {' and '.join(said)}.",
        numbers,
        f"One INSERT per record left inside the clock would make the same work look "
        f"{numbers['separation row insert factor']} as long in microflows, "
        f"{numbers['separation row insert record factor']} record by record.",
    )


CONTAMINATION = Experiment(
    name="contamination",
    asks="What would a careless clock have added?",
    notebook="timing_separation",
    matrix=matrix,
    frame=frame,
    answer=answer,
    seconds=lambda config: (
        0.25 + float(config["rows"] * config["passes"]) * (3e-4 if config["intrusion"] == "row insert" else 3e-5)
    ),
    same=("records", "output_checksum", "data_checksum"),
    tables={"contamination": table},
    plot=Plot(
        "contamination-penalty",
        "contamination",
        "What database work inside the clock would have added; the band is the noise floor of an A/A comparison.",
    ),
    ratios=ratios_to(CLEAN),
)
