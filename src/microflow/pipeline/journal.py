"""Where a job's progress is kept: nowhere but in memory. `microflow.pipeline.database` keeps it in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from microflow.engine.split_work import Piece
from microflow.store.progress import JobStatus, Progress

__all__ = ["DatabaseCost", "MemoryJournal"]


@dataclass
class DatabaseCost:
    """Nanoseconds of each commit, and of the pure processing that it commits."""

    commit_ns: list[int] = field(default_factory=list)
    pure_ns: list[int] = field(default_factory=list)


class MemoryJournal:
    """Counts only: a job that stops early cannot be resumed. Also the contract of every journal."""

    is_resumable = False
    cost: DatabaseCost | None = None
    #: What the whole output hashes to, where an earlier attempt had written all of it.
    finished: str | None = None

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress or Progress()

    def repeated(self, piece: Piece) -> None:
        """A piece that an earlier attempt committed has been processed again, to get back to where it was."""
        raise NotImplementedError  # pragma: no cover - nothing is ever committed here

    def add(self, piece: Piece) -> None:
        """A piece has been processed and given to the output."""
        self.progress = self.progress.after(piece.microflows, piece.refused)

    def commit(self, settled: dict[str, Any]) -> bool:  # noqa: ARG002 - the contract's signature
        """The files are on the disk as ``settled`` says; true if somebody asked the job to stop."""
        return False

    def finishing(self, output_sha256: str) -> None:
        """Every row is committed; next the output, which hashes to this, is put in place."""

    def complete(self, metrics: dict[str, Any]) -> None:
        """The output is in place."""

    def fail(self, status: JobStatus, error: str) -> None:
        """The job stops early; ``error`` holds no personal data."""
