"""The tables of `microflow.store.models`, and two roles of least privilege, to be granted to login roles of your own.

``microflow_writer`` runs jobs and records trials; it cannot read what the jobs processed, nor any original, and cannot
change what a job is, so that a thief of its password cannot redirect a job that another user will resume.
``microflow_reader`` sees results (experiments, progress, counts) and neither rows nor originals.

The models say how the tables are now: a later revision that adds a column to one of them writes ``IF NOT EXISTS``.
"""

from __future__ import annotations

from alembic import op

from microflow.store.models import Base

__all__ = ["upgrade"]

revision = "0006"
down_revision = None

#: Roles belong to the whole server: another database may have made them, and a managed server may forbid it.
_CREATE_ROLES = """
DO $$
DECLARE role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['microflow_writer', 'microflow_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN RAISE NOTICE 'no right to create role %: grant by hand', role;
        END;
    END LOOP;
END $$
"""

#: Of ``jobs`` the writer may change what moves while a job runs: everything but what it is.
_GRANTS = {
    "microflow_writer": """
GRANT SELECT ON alembic_version, experiments, trials, samples, jobs, checkpoints, topic_offsets TO microflow_writer;
GRANT INSERT ON experiments, trials, samples, jobs, checkpoints, data_records, violations, original_records,
    topic_offsets, topic_results TO microflow_writer;
GRANT UPDATE ON experiments, topic_offsets TO microflow_writer;
GRANT UPDATE (superseded_at) ON trials TO microflow_writer;
GRANT UPDATE (status, total_rows, microflows, rows_read, rows_released, rows_suppressed, rows_quarantined, violations,
              cancel_requested, error, metrics, updated_at, finished_at, fence, settled, output_sha256)
    ON jobs TO microflow_writer;
GRANT SELECT (id, job_id, ordinal) ON data_records TO microflow_writer;
GRANT SELECT (id, job_id, ordinal, rule, regulation, article, severity) ON violations TO microflow_writer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO microflow_writer
""",
    "microflow_reader": """
GRANT SELECT ON alembic_version, experiments, trials, samples, jobs, checkpoints, violations TO microflow_reader;
GRANT SELECT (id, job_id, ordinal, released, compliance_status, violation_count, violation_types,
              anonymization_applied, processing_time) ON data_records TO microflow_reader
""",
}


def upgrade() -> None:
    """Create the tables, create the roles where the server allows it, and give those that exist their rights."""
    Base.metadata.create_all(op.get_bind())
    op.execute(_CREATE_ROLES)
    for role, grants in _GRANTS.items():
        exists = f"EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{role}')"  # noqa: S608 - names of ours
        op.execute(f"DO $do$ BEGIN IF {exists} THEN {grants}; END IF; END $do$")
