"""The seed's dictionaries as typed columns, ready for COPY."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from microflow.errors import StoreError
from microflow.store.bulk import array_literal, document

__all__ = ["original_columns", "record_columns", "violation_columns"]

Dicts = Sequence[Mapping[str, Any]]

_RECORD_KEYS = {
    "job_id", "record_id", "ordinal", "original_data", "processed_data", "compliance_status", "violation_count",
    "violation_types", "processing_time", "anonymization_applied", "released",
}  # fmt: skip
_VIOLATION_KEYS = {
    "job_id", "record_id", "ordinal", "rule", "field", "severity", "regulation", "article", "start", "end",
}  # fmt: skip


def record_columns(records: Dicts, ids: Sequence[int]) -> pa.Table:
    """Columns of ``data_records``; absent keys take the seed's defaults, an unknown key is refused.

    Raises:
        StoreError: a record without ``job_id``, with an unknown key, or with a value of the wrong type.
    """
    _check_keys(records, _RECORD_KEYS, required=("job_id",))
    now = datetime.now(UTC)
    types = [tuple(record.get("violation_types") or ()) for record in records]
    return _table(
        {
            "id": (ids, pa.int64()),
            "job_id": (_get(records, "job_id"), pa.string()),
            "ordinal": (_get(records, "ordinal"), pa.int64()),
            "record_id": (_texts(records, "record_id"), pa.string()),
            "released": (_get(records, "released", True), pa.bool_()),
            "compliance_status": (_get(records, "compliance_status", True), pa.bool_()),
            "violation_count": (_get(records, "violation_count", 0), pa.int16()),
            "violation_types": ([array_literal(words) for words in types], pa.string()),
            "anonymization_applied": (_get(records, "anonymization_applied", False), pa.bool_()),
            "processing_time": (_get(records, "processing_time", now), pa.timestamp("us", "UTC")),
            "processed_data": (_documents(records, "processed_data"), pa.string()),
        }
    )


def original_columns(records: Dicts) -> pa.Table:
    """Columns of ``original_records`` for those records that bring ``original_data``."""
    kept = [record for record in records if record.get("original_data")]
    return _table(
        {
            "job_id": (_get(kept, "job_id"), pa.string()),
            "ordinal": (_get(kept, "ordinal"), pa.int64()),
            "record_id": (_texts(kept, "record_id"), pa.string()),
            "original_data": (_documents(kept, "original_data"), pa.string()),
        }
    )


def violation_columns(violations: Dicts, ids: Sequence[int]) -> pa.Table:
    """Columns of ``violations``; ``rule`` and ``field`` must be given, a span only where there is one.

    Raises:
        StoreError: as in `record_columns`.
    """
    _check_keys(violations, _VIOLATION_KEYS, required=("job_id", "rule", "field"))
    texts = ("job_id", "record_id", "rule", "field")
    described = ("severity", "regulation", "article")
    return _table(
        {
            "id": (ids, pa.int64()),
            **{key: (_texts(violations, key), pa.string()) for key in texts},
            **{key: (_get(violations, key, ""), pa.string()) for key in described},
            "ordinal": (_get(violations, "ordinal"), pa.int64()),
            "span_start": (_get(violations, "start", -1), pa.int32()),
            "span_end": (_get(violations, "end", -1), pa.int32()),
        }
    )


def _get(records: Dicts, key: str, default: object = None) -> list[Any]:
    return [record.get(key, default) for record in records]


def _texts(records: Dicts, key: str) -> list[str | None]:
    return [None if (value := record.get(key)) is None else str(value) for record in records]


def _documents(records: Dicts, key: str) -> list[str | None]:
    return [document(record.get(key)) for record in records]


def _check_keys(records: Dicts, allowed: set[str], required: Iterable[str]) -> None:
    for index, record in enumerate(records):
        if unknown := record.keys() - allowed:
            hint = f"keys are: {', '.join(sorted(allowed))}"
            raise StoreError(f"record {index}: unknown key {min(unknown)!r}", hint=hint)
        if missing := [key for key in required if record.get(key) is None]:
            raise StoreError(f"record {index}: {missing[0]!r} is missing")


def _table(columns: Mapping[str, tuple[Sequence[Any], pa.DataType]]) -> pa.Table:
    arrays = {}
    for name, (values, kind) in columns.items():
        try:
            arrays[name] = pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            # Arrow's own message quotes the value.
            raise StoreError(f"{name!r} holds a value that is not of type {kind}") from None
    return pa.table(arrays)
