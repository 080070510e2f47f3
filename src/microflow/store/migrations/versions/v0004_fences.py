"""What keeps two attempts at a job apart, and proves what was written: a fence, and hashes of what was settled."""

from __future__ import annotations

from alembic import op

__all__ = ["upgrade"]

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns. A job that was interrupted before them cannot be resumed: nothing proves its output."""
    fence = "ADD COLUMN fence bigint NOT NULL DEFAULT 0"
    op.execute(f"ALTER TABLE jobs {fence}, ADD COLUMN settled jsonb, ADD COLUMN output_sha256 text")
    op.execute("ALTER TABLE checkpoints DROP COLUMN output_bytes")
