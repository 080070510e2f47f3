"""Alembic migrations; `microflow.store.migrate` runs them."""
