"""What to do when PostgreSQL is lost: wait a little longer each time, then say so clearly."""

from __future__ import annotations

import psycopg2

from microflow.errors import StoreError
from microflow.settings import Retries

__all__ = ["Retries", "describe", "is_worth_retrying"]


def is_worth_retrying(error: psycopg2.Error) -> bool:
    """Whether the same work may succeed later: a lost or refused connection, a full disk, a deadlock."""
    return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)


def describe(error: psycopg2.Error, doing: str) -> StoreError:
    """A `StoreError` without personal data: messages about values quote the value, so only their kind is told."""
    if error.pgcode is None and is_worth_retrying(error):
        reason = (str(error).strip().splitlines() or ["the connection was lost"])[0]
        hint = "see that the server runs (microflow db start), then resume the job"
    elif is_worth_retrying(error):
        reason, hint = f"{error.diag.message_primary} ({error.pgcode})", "put the server right, then resume the job"
    else:
        where = error.diag.constraint_name or error.diag.column_name or error.diag.table_name
        reason, hint = f"{type(error).__name__} ({error.pgcode}){f' at {where}' if where else ''}", ""
    return StoreError(f"PostgreSQL failed while {doing}: {reason}", hint=hint)
