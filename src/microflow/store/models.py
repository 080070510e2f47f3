"""The tables, as SQLAlchemy 2 models; `microflow.store.migrations` creates them.

Three groups: experiments → trials → samples hold measurements; jobs → checkpoints say how far a job has come;
data_records, violations and original_records say what happened to each row. No table holds a personal value unless a
job was started with ``store_records`` set to ``processed`` or ``original``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from microflow.store.progress import ID_BLOCK

__all__ = [
    "Base", "Checkpoint", "DataRecord", "ExperimentRow", "Job", "OriginalRecord", "SampleRow", "TopicOffset",
    "TopicResult", "TrialRow", "ViolationRow",
]  # fmt: skip


class Base(DeclarativeBase):
    """Times carry their zone; documents are JSONB; identities are PostgreSQL's own."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own interface
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        float: Double,
        int: BigInteger,
        str: Text,
    }


class ExperimentRow(Base):
    """A question: RQ-1, RQ-2, timing separation, ..."""

    __tablename__ = "experiments"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TrialRow(Base):
    """One cell of an experiment's matrix, run once to the end.

    A trial that was run again is kept: ``superseded_at`` says when it stopped being the current one.
    """

    __tablename__ = "trials"
    __table_args__ = (
        # At most one current trial per configuration, however many processes try.
        Index("trials_current", "experiment_id", "config_hash", unique=True, postgresql_where="superseded_at IS NULL"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"))
    config_hash: Mapped[str]
    config: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    machine: Mapped[dict[str, Any]]
    versions: Mapped[dict[str, Any]]
    git: Mapped[str]
    seed: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    superseded_at: Mapped[datetime | None]


class SampleRow(Base):
    """One raw measurement of a trial: value number ``ordinal`` of the series ``name``."""

    __tablename__ = "samples"

    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    value: Mapped[float]


class Job(Base):
    """One run from input to output, and how far it has come. Counts are of rows unless they say otherwise.

    The process that works on a job holds the advisory lock ``lock_key``; a running job without it has been interrupted.
    """

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    lock_key: Mapped[int]
    pipeline: Mapped[str]
    engine: Mapped[str]
    status: Mapped[str] = mapped_column(String(16), index=True)
    spec: Mapped[dict[str, Any]]
    spec_hash: Mapped[str]
    input_sha256: Mapped[str]
    total_rows: Mapped[int | None]
    microflows: Mapped[int] = mapped_column(Integer, server_default="0")
    rows_read: Mapped[int] = mapped_column(server_default="0")
    rows_released: Mapped[int] = mapped_column(server_default="0")
    rows_suppressed: Mapped[int] = mapped_column(server_default="0")
    rows_quarantined: Mapped[int] = mapped_column(server_default="0")
    violations: Mapped[int] = mapped_column(server_default="0")
    cancel_requested: Mapped[bool] = mapped_column(server_default="false")
    error: Mapped[str | None]
    metrics: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    #: The number of the attempt that may write: taking the job raises it, and every commit checks it.
    fence: Mapped[int] = mapped_column(server_default="0")
    #: Lengths and SHA-256 of the job's files at its last commit, and the split it had come to.
    settled: Mapped[dict[str, Any] | None]
    output_sha256: Mapped[str | None]


class Checkpoint(Base):
    """One committed microflow."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    microflow: Mapped[int] = mapped_column(Integer, primary_key=True)
    first_row: Mapped[int]
    rows_in: Mapped[int] = mapped_column(Integer)
    released: Mapped[int] = mapped_column(Integer)
    suppressed: Mapped[int] = mapped_column(Integer)
    violations: Mapped[int] = mapped_column(Integer)
    pure_ns: Mapped[int]
    committed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DataRecord(Base):
    """Result of one row of a job's input.

    There is no foreign key to the job: it would fire a trigger per row, more than the load itself costs. A BRIN index
    finds a job's rows, which lie together on disk, for almost nothing.
    """

    __tablename__ = "data_records"
    __table_args__ = (Index("data_records_job", "job_id", "ordinal", postgresql_using="brin"),)

    id: Mapped[int] = mapped_column(Identity(increment=ID_BLOCK), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64))
    ordinal: Mapped[int | None]
    record_id: Mapped[str | None]
    released: Mapped[bool]
    compliance_status: Mapped[bool]
    violation_count: Mapped[int] = mapped_column(SmallInteger)
    violation_types: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    anonymization_applied: Mapped[bool]
    processing_time: Mapped[datetime]
    processed_data: Mapped[dict[str, Any] | None]


class OriginalRecord(Base):
    """The row as it was read, kept only where a job asked for it; the writer's role may add to it but not read it."""

    __tablename__ = "original_records"
    __table_args__ = (Index("original_records_job", "job_id", "ordinal", postgresql_using="brin"),)

    id: Mapped[int] = mapped_column(Identity(increment=ID_BLOCK), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64))
    ordinal: Mapped[int | None]
    record_id: Mapped[str | None]
    original_data: Mapped[dict[str, Any]]


class ViolationRow(Base):
    """One broken rule in one field of one row; the span is -1 to -1 where the whole field is meant."""

    __tablename__ = "violations"
    __table_args__ = (Index("violations_job", "job_id", "ordinal", postgresql_using="brin"),)

    id: Mapped[int] = mapped_column(Identity(increment=ID_BLOCK), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64))
    ordinal: Mapped[int | None]
    record_id: Mapped[str | None]
    rule: Mapped[str]
    field: Mapped[str]
    severity: Mapped[str]
    regulation: Mapped[str]
    article: Mapped[str]
    span_start: Mapped[int] = mapped_column(Integer)
    span_end: Mapped[int] = mapped_column(Integer)


class TopicOffset(Base):
    """Position of a consumer in one partition of a topic; changes only together with the results before it.

    ``ahead``: offsets from ``next_offset`` on whose results are there already, because they were urgent.
    """

    __tablename__ = "topic_offsets"

    consumer: Mapped[str] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    next_offset: Mapped[int]
    ahead: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")


class TopicResult(Base):
    """One message of a topic after processing: the record that may leave, or the reason why it cannot be read."""

    __tablename__ = "topic_results"

    consumer: Mapped[str] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    offset: Mapped[int] = mapped_column(primary_key=True)
    violation_count: Mapped[int] = mapped_column(SmallInteger)
    record: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None]
