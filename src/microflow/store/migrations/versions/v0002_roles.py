"""Two roles of least privilege, to be granted to login roles of your own.

``microflow_writer`` runs jobs and records trials; it cannot read what the jobs processed, nor any original.
``microflow_reader`` sees results (experiments, progress, counts) and neither rows nor originals.
"""

from __future__ import annotations

from alembic import op

from microflow.store.migrations import change_rights

__all__ = ["upgrade"]

revision = "0002"
down_revision = "0001"

#: Roles belong to the whole server: another database may have made them, and a managed server may forbid it.
CREATE_ROLES = """
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

GRANTS = {
    "microflow_writer": """
GRANT SELECT ON alembic_version, experiments, trials, samples, jobs, checkpoints TO microflow_writer;
GRANT INSERT ON experiments, trials, samples, jobs, checkpoints, data_records, violations, original_records
    TO microflow_writer;
GRANT UPDATE ON experiments, jobs TO microflow_writer;
GRANT UPDATE (superseded_at) ON trials TO microflow_writer;
GRANT SELECT (id, job_id, ordinal) ON data_records, violations TO microflow_writer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO microflow_writer
""",
    "microflow_reader": """
GRANT SELECT ON alembic_version, experiments, trials, samples, jobs, checkpoints, violations TO microflow_reader;
GRANT SELECT (id, job_id, ordinal, released, compliance_status, violation_count, violation_types,
              anonymization_applied, processing_time) ON data_records TO microflow_reader
""",
}


def upgrade() -> None:
    """Create the roles where we may, and give those that exist their rights."""
    op.execute(CREATE_ROLES)
    for role, grants in GRANTS.items():
        change_rights(role, grants)
