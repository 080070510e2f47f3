"""No method at all: the control arm that measures what an engine costs by itself (NEXMark query 0)."""

from __future__ import annotations

import pyarrow as pa

from microflow.anonymize.contract import Method, Released, Scope
from microflow.schema import DatasetSchema, Record

__all__ = ["Identity"]


class Identity:
    """Passes every row as it is. It protects nobody and says so."""

    scope = Scope.RECORD

    def __init__(self, schema: DatasetSchema) -> None:
        self._schema = schema

    @property
    def output_schema(self) -> pa.Schema:
        """The schema of the input."""
        return self._schema.arrow

    def describe(self) -> dict[str, object]:
        """The method, and that it guarantees nothing."""
        return {"method": Method.IDENTITY.value, "scope": self.scope.value, "guarantee": "none"}

    def anonymize(self, rows: pa.RecordBatch) -> Released:
        """The same rows, all kept."""
        return Released.whole(rows)

    def anonymize_record(self, record: Record) -> Record:
        """A copy of the record, fields in the schema's order."""
        return {name: record[name] for name in self._schema.names}
