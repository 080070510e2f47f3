"""A whole job, from file to file and database, and where its time goes: the measured side of "clean timing"."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's own class is in lower case

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.keys import KEY_VARIABLE
from microflow.descriptors import load_schema
from microflow.experiments.matrix import Matrix, grid, scale_of
from microflow.experiments.sources import DataChecksum, source
from microflow.ingest import open_writer
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.store import PostgreSQLConnector
from microflow.timing.trials import Arm

if TYPE_CHECKING:
    import pandas as pd

    from microflow.experiments.results import Results

__all__ = ["PHASES", "matrix", "phases", "trial"]

PHASES = ("pre", "pure", "post", "residual")
_TARGET = "microflow.experiments.whole_job:trial"
_LEFT_BEHIND = ("data_records", "violations", "checkpoints")


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Run one job with its purity guard and its database; a target for a fresh process.

    Args:
        config: ``pipeline``, ``engine``, ``data_type``, ``rows``, ``seed``. Tokens get a key that nobody keeps.

    Returns:
        ``samples`` (pure seconds, one value), ``phases`` (seconds by name, of wall time), ``purity`` (the guard's
        evidence), ``database_overhead`` (what the commits would have added to the pure time), ``data_checksum`` (of
        the rows in the input file), and the job's counts.
    """
    os.environ[KEY_VARIABLE] = secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="microflow-") as folder, PostgreSQLConnector() as connector:
        path, checksum = _write_input(Path(folder), config)
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
    return {
        "samples": [measured["pure_processing"]],
        "phases": {
            "pre": measured["pre_processing"],
            # Side by side on several workers, pure time is more than the wall time it took.
            "pure": measured["pure_processing"] - measured["overlap"],
            "post": measured["post_processing"],
            "residual": measured["residual"],
        },
        "purity": benefits["timing_contamination"],
        "database_overhead": benefits["database_io_overhead"],
        "counts": document["processing_metrics"],
        "data_checksum": checksum,
    }


def _write_input(folder: Path, config: Mapping[str, Any]) -> tuple[Path, str]:
    """The file that the job reads, and the checksum of its rows."""
    path, checksum = folder / "input.csv", DataChecksum()
    with open_writer(path, load_schema(config["data_type"]).arrow) as writer:
        for flow in checksum.passing(source(config, config["rows"])):
            writer.write(flow.rows)
    return path, checksum.hexdigest()


def _forget(connector: PostgreSQLConnector, job_id: str) -> None:
    """Take the job's rows out again: what is kept of a trial is its measurement."""

    def delete(cursor: Cursor) -> None:
        for table in _LEFT_BEHIND:
            cursor.execute(f"DELETE FROM {table} WHERE job_id = %s", (job_id,))  # noqa: S608 - names of ours
        cursor.execute("DELETE FROM jobs WHERE id = %s", (job_id,))

    connector.transaction(delete, doing="cleaning up after a trial")


_ROWS = {"smoke": 2_000, "quick": 30_000, "paper": 200_000}
_BLOCKS = {"smoke": 1, "quick": 2, "paper": 6}


def matrix(profile: str = "quick", *, seed: int = 1) -> Matrix:
    """The three pipelines on healthcare data; on paper Spark beside them, whose start alone takes seconds."""
    engines = [("batch", "local"), ("stream", "local"), ("hybrid", "local")]
    if profile == "paper":
        engines.append(("batch", "spark"))
    rows, blocks = scale_of(_ROWS, profile), scale_of(_BLOCKS, profile)
    arms = [
        Arm("Spark batch" if engine == "spark" else pipeline, _TARGET, {"pipeline": pipeline, "engine": engine} | cell)
        for pipeline, engine in engines
        for cell in grid(data_type=["healthcare"], rows=[rows])
    ]
    return Matrix("whole-job", tuple(arms), blocks, seed)


def phases(results: Results) -> pd.DataFrame:
    """Median seconds of each phase by arm: columns ``arm``, ``pre_s``, ``pure_s``, ``post_s``, ``residual_s``."""
    columns = {f"phases.{name}": f"{name}_s" for name in PHASES}
    medians = results.frame.groupby("arm", sort=False)[list(columns)].median().rename(columns=columns)
    return medians.reindex([arm.name for arm in results.matrix.arms]).reset_index()
