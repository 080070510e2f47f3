"""Alembic migrations, oldest first and forwards only; `microflow.store.database.migrate` runs them."""
