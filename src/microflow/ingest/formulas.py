"""Text that a spreadsheet would take for a formula gets a leading apostrophe (OWASP, "CSV Injection")."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["harmless", "harmless_column"]

#: How a formula begins.
_SIGNS = "=+@\t\r-"


def harmless(text: str) -> str:
    """One text.

    >>> harmless("=1+1"), harmless("1+1")
    ("'=1+1", '1+1')
    """
    return f"'{text}" if text.startswith(tuple(_SIGNS)) else text


def harmless_column(column: pa.Array) -> pa.Array:
    """Every text of a column; numbers are no formulas."""
    if not pa.types.is_string(column.type):
        return column
    risky = pc.match_substring_regex(column, f"^[{_SIGNS}]")
    if not pc.any(risky).as_py():
        return column
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)
