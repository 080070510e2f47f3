"""From file to file, without Java and without a database."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from microflow.errors import InputError
from microflow.processors import HybridProcessor, LocalBatchProcessor, ProcessingSpec, StormStreamProcessor
from microflow.processors.files import process_file

PIPELINES = {"batch_microflow": LocalBatchProcessor, "stream": StormStreamProcessor, "hybrid": HybridProcessor}


@pytest.mark.parametrize("pipeline_type", PIPELINES)
def test_a_file_is_processed_and_described(
    pipeline_type: str,
    tmp_path: Path,
    make_rows: Callable[..., pa.RecordBatch],
    make_spec: Callable[..., ProcessingSpec],
) -> None:
    """The seed's keys, all of them measured; nothing but memory was touched while the clock ran."""
    spec, target = make_spec("iot"), tmp_path / "out.parquet"
    pq.write_table(pa.table(make_rows(spec.schema, 2_100)), tmp_path / "in.parquet")
    metrics = process_file(PIPELINES[pipeline_type](spec), spec, tmp_path / "in.parquet", target)
    work, benefits = metrics["processing_metrics"], metrics["research_benefits"]
    assert metrics["pipeline_type"] == pipeline_type
    assert metrics["job_id"].startswith(pipeline_type)
    assert (work["total_records"], work["batches_processed"]) == (2_100, 3)
    assert pq.read_table(target).num_rows == work["released"] == 2_100 - work["suppressed"]
    assert work["records_per_second"] == pytest.approx(2_100 / metrics["timing_separation"]["pure_processing"])
    assert benefits["memory_bounds"] == 1_000
    assert benefits["timing_contamination"]["is_pure"] is True
    assert benefits["database_io_overhead"]["commits"] == 0, "there is no database: its work is known to be none"


def test_a_file_that_fails_leaves_no_output(tmp_path: Path, make_spec: Callable[..., ProcessingSpec]) -> None:
    """The target appears whole or not at all."""
    (tmp_path / "in.csv").write_text("these,are,other,columns\n1,2,3,4\n")
    with pytest.raises(InputError):
        process_file(LocalBatchProcessor(make_spec("iot")), make_spec("iot"), tmp_path / "in.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
