"""What a job is may not be changed once it is entered, and the writer can read the report that its run advertises.

A thief of the writer's password can no longer redirect a job that another user will resume.
"""

from __future__ import annotations

from microflow.store.migrations import change_rights

__all__ = ["upgrade"]

revision = "0005"
down_revision = "0004"

#: The columns of ``jobs`` that change while a job runs: everything but what it is.
_MOVING = (
    "status, total_rows, microflows, rows_read, rows_released, rows_suppressed, rows_quarantined, violations, "
    "cancel_requested, error, metrics, updated_at, finished_at, fence, settled, output_sha256"
)
_REPORTED = "id, job_id, ordinal, rule, regulation, article, severity"


def upgrade() -> None:
    """Narrow one right, widen another."""
    change_rights(
        "microflow_writer",
        f"REVOKE UPDATE ON jobs FROM microflow_writer; GRANT UPDATE ({_MOVING}) ON jobs TO microflow_writer; "
        f"GRANT SELECT ({_REPORTED}) ON violations TO microflow_writer",
    )
