"""From file to file without a database: what the seed's ``process_batch_microflow`` does."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from microflow.ingest import Quarantine, open_writer, read_microflows
from microflow.processors.contract import ProcessingSpec, Processor
from microflow.processors.metrics import Counts, metrics_document
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard
from microflow.timing.resources import ResourceMeter

__all__ = ["process_file"]


def process_file(processor: Processor, spec: ProcessingSpec, source: Path, target: Path) -> dict[str, Any]:
    """Process a whole file with the purity guard on; returns the metrics document.

    The output appears whole or not at all. Rows that cannot be used are counted as quarantined and not kept; a job of
    `microflow.pipeline` keeps them, writes checkpoints and can be resumed.

    Raises:
        InputError: the file cannot be read, or is not the one described.
    """
    clock, meter, counts = PhaseClock(guard=PurityGuard()), ResourceMeter(), Counts()
    with Quarantine() as quarantine, open_writer(target, processor.output_schema) as writer:
        flows = read_microflows(source, spec.schema, quarantine=quarantine, size=spec.microflow_rows)
        for done in processor.process(flows, clock):
            with clock.post():
                writer.write(done.released)
                counts.add(done)
    counts.quarantined = quarantine.total
    return metrics_document(
        job_id=f"{processor.pipeline_type}_{uuid.uuid4().hex[:12]}",
        pipeline_type=processor.pipeline_type,
        clock=clock,
        counts=counts,
        usage=meter.usage(),
        method=processor.describe(),
    )
