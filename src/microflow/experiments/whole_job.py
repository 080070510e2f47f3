"""A whole job, from file to file and database: where its time goes, and what Spark brings, whole job beside whole job.

This is the one experiment in which Spark stands beside the local engines: its tasks use every core and pay for a JVM,
so that only the time of a whole job is the same thing on both sides. What a core of it does is in
`microflow.experiments.cores`.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's own class is in lower case

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.tokenization import KEY_VARIABLE
from microflow.engine import PIPELINES
from microflow.experiments.work import write_rows
from microflow.lab.experiment import Experiment, Matrix, Plot, ratios_to, scale_of
from microflow.lab.report import Answer, Table, design, per_cent, pure_or_not, ratio_text, rounded
from microflow.lab.results import Frame, Results
from microflow.lab.trials import Arm
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.store.connector import PostgreSQLConnector

__all__ = ["PHASES", "WHOLE_JOB", "answer", "frame", "matrix", "table", "trial"]

PHASES = ("pre", "pure", "post", "residual")
_SPARK = "Spark batch"


#: Rows, blocks, and whether Spark runs too.
_SCALES = {"smoke": (2_000, 1, False), "quick": (20_000, 1, False), "paper": (100_000, 6, True)}


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Run one job with its purity guard and its database; a target for a fresh process.

    Args:
        config: ``pipeline``, ``engine``, ``data_type``, ``rows``, ``seed``. Tokens get a key that is not kept.

    Returns:
        ``samples`` (seconds from the file read to the file written, one value), ``phases`` (seconds by name, of wall
        time), ``evidence`` (of the guard), ``database_overhead`` (what the commits would have added to the pure time),
        ``data_checksum`` (of the rows in the input file), and the job's counts.
    """
    os.environ[KEY_VARIABLE] = secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="microflow-") as folder, PostgreSQLConnector() as connector:
        path = Path(folder) / "input.csv"
        checksum = write_rows(path, config, config["rows"])
        job = JobSpec(
            input=path,
            output=Path(folder) / "released.csv",
            schema=config["data_type"],
            method=MethodSettings(Method.TOKENIZATION),
            pipeline=config["pipeline"],
            engine=config["engine"],
            job_id=f"experiment-{secrets.token_hex(8)}",
        )
        try:
            document = PipelineOrchestrator(connector).run(job)
        finally:
            _forget(connector, str(job.job_id))
    measured, benefits = document["timing_separation"], document["research_benefits"]
    phases = {
        "pre": measured["pre_processing"],
        # Side by side on several workers, pure time is more than the wall time it took.
        "pure": measured["pure_processing"] - measured["overlap"],
        "post": measured["post_processing"],
        "residual": measured["residual"],
    }
    return {
        "samples": [sum(phases.values())],
        "phases": phases,
        "evidence": [benefits["timing_contamination"]],
        "database_overhead": benefits["database_io_overhead"],
        "counts": document["processing_metrics"],
        "data_checksum": checksum,
    }


def _forget(connector: PostgreSQLConnector, job_id: str) -> None:
    """Take the job's rows out again: what is kept of a trial is its measurement."""

    def delete(cursor: Cursor) -> None:
        for table in ("data_records", "violations", "checkpoints"):
            cursor.execute(f"DELETE FROM {table} WHERE job_id = %s", (job_id,))  # noqa: S608 - names of ours
        cursor.execute("DELETE FROM jobs WHERE id = %s", (job_id,))

    connector.transaction(delete, doing="cleaning up after a trial")


def matrix(profile: str) -> Matrix:
    """The three pipelines on healthcare data; on paper Spark beside them, whose start alone takes seconds."""
    rows, blocks, spark = scale_of(_SCALES, profile)
    engines = [(name, name, "local") for name in PIPELINES] + [(_SPARK, "batch", "spark")] * spark
    work = {"data_type": "healthcare", "rows": rows}
    arms = [
        Arm(name, f"{__name__}:trial", work | {"pipeline": pipeline, "engine": engine})
        for name, pipeline, engine in engines
    ]
    return Matrix("whole-job", tuple(arms), blocks)


def _seconds(config: Mapping[str, Any]) -> float:
    beside = 9.0 if config["engine"] == "spark" else 0.6
    return beside + float(config["rows"]) * {"batch": 1.5e-5, "stream": 3e-5, "hybrid": 2e-5}[config["pipeline"]]


def frame(results: Results) -> Frame:
    """Median seconds of each phase by arm: columns ``arm``, ``pre_s``, ``pure_s``, ``post_s``, ``residual_s``.

    ``shown`` says whether every trial of the arm shows that its pure phase was pure.
    """
    columns = {f"phases.{name}": f"{name}_s" for name in PHASES}
    medians = results.frame.groupby("arm", sort=False)[list(columns)].median().rename(columns=columns)
    found = medians.reindex([arm.name for arm in results.matrix.arms]).reset_index()
    return found.assign(shown=found["arm"].isin(results.purity()[0]))


def table(results: Results) -> Table:
    """Seconds of a whole job and of its phases, resources, and what each arm's trials show of purity."""
    resources = results.frame.groupby("arm")[["cpu_s", "peak_rss_bytes", "bytes_per_record"]].median()
    ratios = ratios_to("batch")(results)
    rows = []
    for row in frame(results).to_dict("records"):
        phases = [row[f"{name}_s"] for name in PHASES]
        own = resources.loc[row["arm"]]
        beside = "1" if row["arm"] == "batch" else ratio_text(ratios[f"{row['arm']} beside batch"])
        rows.append([
            row["arm"], f"{sum(phases):.2f}", beside, *(f"{value:.2f}" for value in phases), f"{own['cpu_s']:.1f}",
            f"{own['peak_rss_bytes'] / 2**20:.0f}", f"{own['bytes_per_record']:,.0f}",
            "shown" if row["shown"] else "not shown",
        ])  # fmt: skip
    return Table(
        ["job", "s", "beside batch", "pre", "pure", "post", "residual", "CPU s", "peak MiB", "bytes/record", "purity"],
        rows,
        "A whole job from file to file and database, in a process of its own; Spark's on all cores, its JVM and "
        "session included. Medians over blocks; the ratio is of whole jobs. Purity is shown where the guard watched "
        f"every pure span and it and the kernel saw memory only. {design(results)}.",
    )


def answer(results: Results) -> Answer:
    """Share of pure processing in a job, and the duration of Spark's whole job beside it."""
    jobs = frame(results).set_index("arm")[[f"{name}_s" for name in PHASES]]
    shares = jobs.div(jobs.sum(axis=1), axis=0).loc["batch"].to_dict()
    pure, residual = float(shares["pure_s"]), float(shares["residual_s"])
    whole = jobs.sum(axis=1).to_dict()
    numbers = {
        "separation pure share": per_cent(pure),
        "separation residual share": per_cent(residual),
        "separation batch job s": rounded(whole["batch"]),
    }
    sentence = (
        f"A batch job of {rounded(results.matrix.arms[0].config['rows'])} records takes {rounded(whole['batch'])} s, "
        f"of which {per_cent(pure)} is pure processing and {per_cent(residual)} belongs to no phase. "
        f"Purity: {pure_or_not(results)}."
    )
    if _SPARK in whole:
        ratio = ratio_text(ratios_to("batch")(results)[f"{_SPARK} beside batch"])
        numbers |= {"separation spark job s": rounded(whole[_SPARK]), "separation spark over batch": ratio}
        sentence += f" The same job on Spark takes {rounded(whole[_SPARK])} s on this machine ({ratio} the batch's)."
    return Answer(sentence, numbers)


WHOLE_JOB = Experiment(
    name="whole-job",
    asks="Where does a job's time go?",
    notebook="timing_separation",
    matrix=matrix,
    frame=frame,
    answer=answer,
    seconds=_seconds,
    same=(
        *(f"counts.{name}" for name in ("total_records", "released", "suppressed", "quarantined", "violations_found")),
        "data_checksum",
    ),
    tables={"jobs": table},
    plot=Plot(
        "phase-breakdown",
        "phases",
        "Where a whole job's wall time goes, from file to file and database (healthcare, tokenization). Hatched: pure "
        "time that the trials do not show to be pure.",
    ),
    ratios=ratios_to("batch"),
)
