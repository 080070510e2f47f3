"""Alembic migrations, oldest first and forwards only; `microflow.store.database.migrate` runs them."""

from __future__ import annotations

from alembic import op

__all__ = ["change_rights"]


def change_rights(role: str, statements: str) -> None:
    """Change the rights of a role where the server has it: making it may have been forbidden."""
    found = f"EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{role}')"  # noqa: S608 - names of ours
    op.execute(f"DO $do$ BEGIN IF {found} THEN {statements.strip()}; END IF; END $do$")
