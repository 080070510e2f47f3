"""How a token is written: ``t2.<key id>.<tag>``, or ``r2.<key id>.<ciphertext>`` where the key holder may reverse it.

Letters, digits and points only: safe in CSV, spreadsheets, URLs and file names. The key id (eight hexadecimal digits)
tells which key made a token, so that keys can rotate while older releases stay joinable. Version 1 was made with the
token key itself and the column's name alone; its reversible tokens can still be turned back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.text_spans import even_offsets

__all__ = ["ONE_WAY", "REVERSIBLE", "REVERSIBLE_V1", "TAG_BYTES", "VERSIONS", "head", "one_way_columns", "split"]

ONE_WAY = "t2"
REVERSIBLE = "r2"
REVERSIBLE_V1 = "r1"
VERSIONS = ("t1", REVERSIBLE_V1, ONE_WAY, REVERSIBLE)
TAG_BYTES = 16
_PARTS = 3

Flags = npt.NDArray[np.bool_]


def head(version: str, key_id: str) -> str:
    """What stands before the tag.

    >>> head(ONE_WAY, "0b3a1a8d")
    't2.0b3a1a8d.'
    """
    return f"{version}.{key_id}."


def split(token: str) -> tuple[str, str, str] | None:
    """Version, key id and body of a token, or ``None`` for any other text.

    >>> split("t1.0b3a1a8d.ff"), split("t1.x")
    (('t1', '0b3a1a8d', 'ff'), None)
    """
    parts = token.split(".")
    if len(parts) != _PARTS or parts[0] not in VERSIONS:
        return None
    return parts[0], parts[1], parts[2]


class _Hex:
    """Two bytes to four hexadecimal digits by one look-up; 256 kB, made when first asked for."""

    def __init__(self) -> None:
        self._table: npt.NDArray[np.uint32] | None = None

    def __call__(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
        if self._table is None:
            digits = np.frombuffer(b"0123456789abcdef", np.uint8)
            pairs = np.arange(1 << 16, dtype="<u2").view(np.uint8).reshape(-1, 2)
            self._table = (
                np.stack([digits[pairs >> 4], digits[pairs & 15]], axis=-1).reshape(-1, 4).view(np.uint32)[:, 0]
            )
        return self._table.take(data.view("<u2"))


_hex = _Hex()


def one_way_columns(tags: npt.NDArray[np.uint8], start: str, rows: Sequence[Flags | int]) -> list[pa.Array]:
    """Columns of tokens, whose memory is shared and not copied.

    ``tags`` has shape (n, 16) and ``start`` is their `head`. ``rows`` says for each column how many rows it has, or
    which of them are there.
    """
    texts = _one_way_texts(tags, start)
    sizes = [int(column) if isinstance(column, int) else int(np.count_nonzero(column)) for column in rows]
    parts = [texts[first:last] for first, last in pairwise(accumulate(sizes, initial=0))]
    return [_column(part, column) for part, column in zip(parts, rows, strict=True)]


def _one_way_texts(tags: npt.NDArray[np.uint8], start: str) -> npt.NDArray[np.void]:
    """One token an entry, as raw bytes."""
    # Fields of raw bytes are copied whole, several times faster than the same bytes as columns of a matrix.
    parts = np.dtype([("head", f"V{len(start)}"), ("tag", f"V{TAG_BYTES * 2}")])
    texts = np.empty(len(tags), parts)
    texts["head"] = np.void(start.encode("ascii"))
    texts["tag"] = _hex(tags).reshape(-1).view(parts["tag"])
    return texts


def _column(texts: npt.NDArray[np.void], rows: Flags | int) -> pa.Array:
    data = pa.py_buffer(texts.view(np.uint8))
    width = texts.dtype.itemsize
    if isinstance(rows, int):
        return pa.StringArray.from_buffers(rows, even_offsets(rows, width), data)
    offsets = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(rows, out=offsets[1:])
    offsets *= width
    valid = pa.py_buffer(np.packbits(rows, bitorder="little"))
    return pa.StringArray.from_buffers(len(rows), pa.py_buffer(offsets), data, valid, len(rows) - len(texts))
