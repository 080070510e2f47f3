"""How far a job has come, and what is committed together: known without a database or its driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["LIVE", "CommitGroup", "JobStatus", "Progress"]

#: The engine of a job that serves a topic: it has no input to resume, its group's positions say where it goes on.
LIVE = "live"


class JobStatus(StrEnum):
    """The states of a job; the column ``jobs.status`` holds the value."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come: everything before ``microflows`` is committed. Totals since its beginning."""

    microflows: int = 0
    rows_read: int = 0
    rows_released: int = 0
    rows_suppressed: int = 0
    violations: int = 0
    rows_quarantined: int = 0

    def after(self, microflows: npt.NDArray[np.int64], refused: int) -> Progress:
        """The totals with some microflows more (n × 5: rows in, released, suppressed, violations, nanoseconds)."""
        rows_in, released, suppressed, violations, _ = microflows.sum(axis=0).tolist()
        return replace(
            self,
            microflows=self.microflows + len(microflows),
            rows_read=self.rows_read + rows_in,
            rows_released=self.rows_released + released,
            rows_suppressed=self.rows_suppressed + suppressed,
            violations=self.violations + violations,
            rows_quarantined=self.rows_quarantined + refused,
        )


@dataclass(frozen=True, slots=True)
class CommitGroup:
    """Microflows that are committed in one transaction, as columns of the ``tables`` of these names.

    ``progress`` counts everything up to and including this group; ``settled`` is where the job's files were then.
    """

    tables: Mapping[str, pa.Table]
    progress: Progress
    settled: Mapping[str, Any]
