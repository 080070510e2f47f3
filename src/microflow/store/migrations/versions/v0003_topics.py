"""Results of topics and the offsets they were read at, so that both can be committed together."""

from __future__ import annotations

from alembic import op

__all__ = ["downgrade", "upgrade"]

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

GRANT = """
DO $do$ BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'microflow_writer') THEN
    GRANT SELECT, INSERT, UPDATE ON topic_offsets TO microflow_writer;
    GRANT INSERT ON topic_results TO microflow_writer;
END IF; END $do$
"""


def upgrade() -> None:
    """Create both tables; the writer may add results but not read them."""
    op.execute(TABLES)
    op.execute(GRANT)


def downgrade() -> None:
    """Drop them with everything in them."""
    op.execute("DROP TABLE topic_results, topic_offsets")
