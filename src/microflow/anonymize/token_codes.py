"""From a value to its token, under one key: one-way by CMAC or HMAC, reversible by SIV. Whole columns, or one value."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hmac import HMAC

from microflow.anonymize.cmac import ManyCmac
from microflow.anonymize.text_spans import TextSpans
from microflow.anonymize.token_text import ONE_WAY, REVERSIBLE, TAG_BYTES, head, one_way_columns

__all__ = ["CmacCodes", "Codes", "HmacCodes", "SivCodes"]


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
