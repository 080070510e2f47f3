"""Progress of a job, and the encoding of values for PostgreSQL, usable without a database or its driver."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from functools import lru_cache
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from microflow.errors import StoreError

__all__ = ["ID_BLOCK", "LIVE", "JobProgress", "JobStatus", "array_literal", "json_document"]

#: The engine of a job that serves a topic: it has no input to resume, its group's positions say where it goes on.
LIVE = "live"
#: Tables that are loaded in bulk hand out identities by blocks of this many: one call for a block instead of for a row.
ID_BLOCK = 1_000


class JobStatus(StrEnum):
    """The states of a job; the column ``jobs.status`` holds the value."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Progress of a job: everything before ``microflows`` is committed. Totals since its beginning."""

    microflows: int = 0
    rows_read: int = 0
    rows_released: int = 0
    rows_suppressed: int = 0
    violations: int = 0
    rows_quarantined: int = 0

    def after(self, microflows: npt.NDArray[np.int64], refused: int) -> JobProgress:
        """The totals with some microflows more (n × 5: rows in, released, suppressed, violations, nanoseconds)."""
        *counts, _ = microflows.sum(axis=0).tolist()
        return JobProgress(*map(add, astuple(self), (len(microflows), *counts, refused)))


@lru_cache(maxsize=4096)
def array_literal(words: tuple[str, ...]) -> str:
    r"""Words as PostgreSQL writes a ``text[]``.

    >>> array_literal(("hipaa-ssn", 'odd "word"'))
    '{"hipaa-ssn","odd \\"word\\""}'
    """
    escaped = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    return "{" + ",".join(f'"{word}"' for word in escaped) + "}"


def json_document(value: Mapping[str, Any] | None) -> str | None:
    """A JSON document as JSONB accepts it: NUL characters, which it cannot hold, become U+FFFD.

    Raises:
        StoreError: the document holds something that is not JSON, such as NaN.

    >>> json_document({"zip": "941", "age": 40})
    '{"zip":"941","age":40}'
    """
    if value is None:
        return None
    try:
        text = _dump(value)
        return _dump(_without_nul(value)) if "\\u0000" in text else text
    except (TypeError, ValueError) as error:
        raise StoreError("a record cannot be written as JSON", hint="NaN and infinity are not JSON") from error


def _plain(value: Any) -> Any:
    """JSON form of a value that JSON has no word for: numpy's numbers as numbers, dates and paths as text."""
    return value.item() if isinstance(value, np.generic) else str(value)


_dump = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=_plain).encode


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, Mapping):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_without_nul(item) for item in value]
    return value
