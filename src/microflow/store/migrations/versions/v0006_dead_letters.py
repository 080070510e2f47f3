"""What a topic's consumer notes besides results: why a message cannot be read, and what was done ahead of its turn."""

from __future__ import annotations

from alembic import op

__all__ = ["upgrade"]

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add both columns; the rights on their tables cover them."""
    op.execute("ALTER TABLE topic_results ADD COLUMN reason text")
    op.execute("ALTER TABLE topic_offsets ADD COLUMN ahead bigint[] NOT NULL DEFAULT '{}'")
