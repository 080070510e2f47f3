"""Results of topics and the offsets they were read at, so that both can be committed together."""

from __future__ import annotations

from alembic import op

from microflow.store.migrations import change_rights

__all__ = ["upgrade"]

revision = "0003"
down_revision = "0002"

TABLES = """
CREATE TABLE topic_offsets (
    consumer     text,
    topic        text,
    partition    integer,
    next_offset  bigint NOT NULL,
    PRIMARY KEY (consumer, topic, partition)
);
CREATE TABLE topic_results (
    consumer         text,
    topic            text,
    partition        integer,
    "offset"         bigint,
    violation_count  smallint NOT NULL,
    record           jsonb,
    PRIMARY KEY (consumer, topic, partition, "offset")
)
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE ON topic_offsets TO microflow_writer;
GRANT INSERT ON topic_results TO microflow_writer
"""


def upgrade() -> None:
    """Create both tables; the writer may add results but not read them."""
    op.execute(TABLES)
    change_rights("microflow_writer", GRANTS)
