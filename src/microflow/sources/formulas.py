r"""Text that a spreadsheet would run as a formula gets a leading apostrophe in CSV, and loses it when it is read.

A spreadsheet runs a cell that begins with ``=``, ``@``, a tab or a line end, and one that begins with ``+`` or ``-``
and goes on with more than a number, a telephone number or a range of numbers (OWASP, "CSV Injection"); some run the
same signs in full width, too, and some drop blanks before them. The escape is exact: what begins with apostrophes and
would be risky without them gets one more, so that taking one away gives the text back.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["harmless", "harmless_column", "unescaped", "unescaped_column"]

#: Nothing but digits and what stands between them: there is no name in it to call.
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_NUMBERS = rf"[+-](?:[0-9(][0-9 ().,:/-]*{_EXPONENT}(?:\.\.[+-]?[0-9.,]+{_EXPONENT})?%?)?"
_RISKY = re.compile(rf"'*[ \u00a0\u3000\ufeff]*(?:[=@\t\r\n\uff1d\uff20]|(?!{_NUMBERS}\Z)[+\uff0b\uff0d-])")
#: First bytes (of UTF-8) of text that may need an escape, and of text that may have one.
_SIGNS = np.zeros(256, np.bool_)
_SIGNS[np.frombuffer(b"=@\t\r\n+-' \xc2\xe3\xef", np.uint8)] = True
_APOSTROPHE = np.zeros(256, np.bool_)
_APOSTROPHE[ord("'")] = True


def harmless(text: str) -> str:
    """One text, escaped where it must be.

    >>> harmless("=1+1"), harmless("-70"), harmless("-1..3"), harmless("+353 1 555 0100"), harmless("-1+cmd()")
    ("'=1+1", '-70', '-1..3', '+353 1 555 0100', "'-1+cmd()")
    """
    return f"'{text}" if _RISKY.match(text) else text


def unescaped(text: str) -> str:
    """The text that `harmless` was given.

    >>> unescaped("'=1+1"), unescaped("'quoted'")
    ('=1+1', "'quoted'")
    """
    return text[1:] if text.startswith("'") and _RISKY.match(text) else text


def harmless_column(column: pa.Array) -> pa.Array:
    """Every text of a column, escaped where it must be; numbers are no formulas."""
    if not pa.types.is_string(column.type):
        return column
    return _changed(column, _SIGNS, harmless)


def unescaped_column(column: pa.Array) -> pa.Array:
    """The column that `harmless_column` was given."""
    data = column.buffers()[2]
    if data is None or not (np.frombuffer(data, np.uint8) == ord("'")).any():
        return column
    return _changed(column, _APOSTROPHE, unescaped)


def _changed(column: pa.Array, first_bytes: npt.NDArray[np.bool_], change: Callable[[str], str]) -> pa.Array:
    """The column with the texts changed that begin with one of these bytes: nearly always there are none."""
    _, offsets, data = column.buffers()
    if data is None or not data.size:
        return column
    content = np.frombuffer(data, np.uint8)
    begins = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    found = np.flatnonzero(first_bytes.take(content.take(begins[:-1], mode="clip")))
    found = found[begins[found] < begins[found + 1]]  # an empty text begins where the next one does
    if not len(found):
        return column
    picked = column.take(pa.array(found)).to_pylist()
    changed = [None if text is None else change(text) for text in picked]
    if changed == picked:
        return column
    is_found = np.zeros(len(column), np.bool_)
    is_found[found] = True
    return pc.replace_with_mask(column, pa.array(is_found), pa.array(changed, pa.string()))
