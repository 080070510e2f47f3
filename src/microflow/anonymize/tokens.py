"""Tokens as text: their parts, and columns of them by distinct values.

Letters, digits and points only: safe in CSV, spreadsheets, URLs and file names. The key id (eight hexadecimal digits)
tells which key made a token, so that keys can rotate while older releases stay joinable. Version 1 was made with the
token key itself and the column's name alone; its reversible tokens can still be turned back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hmac import HMAC

from microflow.anonymize.cmac import ManyCmac
from microflow.anonymize.text_spans import TextSpans, even_offsets

__all__ = [
    "ONE_WAY",
    "REVERSIBLE",
    "REVERSIBLE_V1",
    "TAG_BYTES",
    "VERSIONS",
    "CmacCodes",
    "Codes",
    "HmacCodes",
    "SivCodes",
    "head",
    "one_way_columns",
    "split",
]


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


class Codes(Protocol):
    """Tokens of the values of some fields, which are counted in the order they were given."""

    def columns(self, values: Mapping[int, pa.Array]) -> list[pa.Array]:
        """Tokens of some fields' string columns; missing values stay missing."""
        ...

    def one(self, field: int, value: str) -> str:
        """The token of one value; equal to what `columns` gives."""
        ...


def _domain(field: str) -> bytes:
    """Sixteen bytes that stand before every value of a field, so that fields have tokens of their own."""
    return hashlib.sha256(field.encode()).digest()[:TAG_BYTES]


def _bytes(value: str) -> bytes:
    # A lone surrogate (possible in JSON) is no reason to fail; Arrow could not have held it.
    return value.encode("utf-8", "surrogatepass")


def _one_by_one(one: Callable[[int, str], str], values: Mapping[int, pa.Array]) -> list[pa.Array]:
    return [
        pa.array([None if text is None else one(field, text) for text in column.to_pylist()], pa.string())
        for field, column in values.items()
    ]


class CmacCodes:
    """AES-CMAC under a key of 128 or 256 bits; ``name`` is the key's id in every token."""

    def __init__(self, key: bytes, fields: Sequence[str], name: str) -> None:
        domains = [_domain(field) for field in fields]
        self._head = head(ONE_WAY, name)
        self._many = ManyCmac(key, domains)
        self._begun = [CMAC(algorithms.AES(key)) for _ in domains]
        for begun, domain in zip(self._begun, domains, strict=True):
            begun.update(domain)

    def columns(self, values: Mapping[int, pa.Array]) -> list[pa.Array]:
        """All values of all columns by one chain of AES calls."""
        spans = TextSpans.of(values)
        rows = [
            len(column) if valid is None else valid for column, valid in zip(values.values(), spans.valid, strict=True)
        ]
        return one_way_columns(self._many.tags(spans), self._head, rows)

    def one(self, field: int, value: str) -> str:
        """The library's own CMAC, begun with the field and copied."""
        mac = self._begun[field].copy()
        mac.update(_bytes(value))
        return self._head + mac.finalize().hex()


class HmacCodes:
    """HMAC-SHA-512 under a key of 512 bits, its first 128 bits."""

    def __init__(self, key: bytes, fields: Sequence[str], name: str) -> None:
        self._head = head(ONE_WAY, name)
        self._begun = [HMAC(key, hashes.SHA512()) for _ in fields]
        for begun, field in zip(self._begun, fields, strict=True):
            begun.update(_domain(field))

    def columns(self, values: Mapping[int, pa.Array]) -> list[pa.Array]:
        """Value by value: SHA-512 has no form for many short messages that could be had from Python."""
        return _one_by_one(self.one, values)

    def one(self, field: int, value: str) -> str:
        """One token."""
        mac = self._begun[field].copy()
        mac.update(_bytes(value))
        return self._head + mac.finalize()[:TAG_BYTES].hex()


class SivCodes:
    """AES-SIV (RFC 5297) under a key of 256 or 512 bits: equal values have equal tokens; the key turns them back."""

    def __init__(self, key: bytes, fields: Sequence[str], name: str) -> None:
        self._head = head(REVERSIBLE, name)
        self._cipher = AESSIV(key)
        self._fields = [[field.encode()] for field in fields]

    def columns(self, values: Mapping[int, pa.Array]) -> list[pa.Array]:
        """Value by value."""
        return _one_by_one(self.one, values)

    def one(self, field: int, value: str) -> str:
        """One token: the synthetic initialisation vector and the ciphertext."""
        return self._head + self._cipher.encrypt(_bytes(value), self._fields[field]).hex()

    def restore(self, field: int, body: str) -> str | None:
        """The value behind the hexadecimal ``body`` of a token, or ``None`` if key or field did not make it."""
        try:
            return self._cipher.decrypt(bytes.fromhex(body), self._fields[field]).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            return None
