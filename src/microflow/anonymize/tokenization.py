"""Tokenization: identifiers replaced by keyed, deterministic tokens.

Equal values of a field get equal tokens, so that records stay linkable: this is pseudonymisation (GDPR Art. 4(5), EDPB
Guidelines 01/2025), not anonymisation. Quasi-identifiers are left as they are, and whoever knows them finds the person.

======== ================================================ ==========================
key      token                                            source
======== ================================================ ==========================
128 bit  AES-128-CMAC                                     NIST SP 800-38B, RFC 4493
256 bit  AES-256-CMAC                                     NIST SP 800-38B
512 bit  HMAC-SHA-512, first 128 bits                     RFC 2104, RFC 4231
any      reversible: AES-SIV (keys of 256 or 512 bits)    RFC 5297
======== ================================================ ==========================
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from microflow.anonymize.cmac import ColumnCmac, domain
from microflow.anonymize.contract import MethodSettings, Released, Scope
from microflow.anonymize.keys import KEY_BITS
from microflow.anonymize.tokens import TAG_BYTES, prefix, token_array
from microflow.errors import KeyMaterialError, MicroflowError
from microflow.schema import DatasetSchema, Record, Role

__all__ = ["Tokenizer", "detokenize"]

_HMAC_BITS = 512


class Tokenizer:
    """Replaces every column of role identifier by tokens; nulls stay null, all other columns pass.

    Args:
        settings: ``key_bits`` and ``reversible``.
        schema: Which columns are identifiers.
        key: ``key_bits`` of secret material.

    Raises:
        KeyMaterialError: the key has another length than ``key_bits``.
    """

    def __init__(self, settings: MethodSettings, schema: DatasetSchema, key: bytes) -> None:
        if settings.key_bits not in KEY_BITS or len(key) * 8 != settings.key_bits:
            raise KeyMaterialError(f"the token key has {len(key) * 8} bits, {settings.key_bits} are needed")
        self._spec = (settings, schema, key)
        self._schema = schema
        self.fields = tuple(column.name for column in schema.with_role(Role.IDENTIFIER))
        self._prefix = prefix(key, "R1" if settings.reversible else "T1")
        self._places = [schema.names.index(field) for field in self.fields]
        self._cmac = None if settings.reversible or settings.key_bits == _HMAC_BITS else ColumnCmac(key, self.fields)
        self._payload = self._payloads(settings, key)
        self.scope = Scope.RECORD
        self.output_schema = pa.schema(
            [pa.field(f.name, pa.string()) if f.name in self.fields else f for f in schema.arrow]
        )

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[MethodSettings, DatasetSchema, bytes]]:
        return type(self), self._spec

    def describe(self) -> dict[str, object]:
        """Method and guarantee; of the key only its length and its id."""
        settings = self._spec[0]
        return {
            "method": settings.method.value,
            "key_bits": settings.key_bits,
            "key_id": self._prefix.split("-")[1],
            "reversible": settings.reversible,
            "fields": list(self.fields),
            "guarantee": "pseudonymisation (GDPR Art. 4(5)): identifiers cannot be computed back without the key; "
            "records stay linkable and quasi-identifiers are unchanged",
        }

    def anonymize(self, rows: pa.RecordBatch) -> Released:
        """Tokenize one microflow; every row is released."""
        columns = list(rows.columns)
        texts = {field: _as_text(columns[place]) for field, place in zip(self.fields, self._places, strict=True)}
        if self._cmac is not None:
            tags = self._cmac.tags({field: text for field, text in texts.items() if text.null_count < len(text)})
            tokens = {field: token_array(tags[field], self._prefix, texts[field]) for field in tags}
        else:
            tokens = {field: self._one_by_one(field, text) for field, text in texts.items()}
        for field, place in zip(self.fields, self._places, strict=True):
            columns[place] = tokens.get(field, texts[field])
        released = pa.RecordBatch.from_arrays(columns, schema=self.output_schema)
        return Released(released, np.arange(rows.num_rows, dtype=np.int64), rows.num_rows)

    def anonymize_record(self, record: Record) -> Record:
        """Tokenize one record: the same tokens as `anonymize` gives."""
        released = dict(record)
        for field in self.fields:
            value = record.get(field)
            if value is not None:
                text = value if isinstance(value, str) else _text_of(value)
                released[field] = f"{self._prefix}{self._payload(field, text.encode()).hex()}"
        return released

    def _one_by_one(self, field: str, texts: pa.Array) -> pa.Array:
        payload, beginning = self._payload, self._prefix
        tokens = [
            None if text is None else f"{beginning}{payload(field, text.encode()).hex()}" for text in texts.to_pylist()
        ]
        return pa.array(tokens, pa.string())

    def _payloads(self, settings: MethodSettings, key: bytes) -> Callable[[str, bytes], bytes]:
        """Field and text to the bytes of a token."""
        if settings.reversible:
            encrypt = _siv(key).encrypt
            return lambda field, text: encrypt(text or b"\x00", [domain(field)])
        if self._cmac is not None:
            return self._cmac.tag
        domains = {field: domain(field) + b"\x01" for field in self.fields}
        return lambda field, text: hmac.digest(key, domains[field] + text, "sha512")[:TAG_BYTES]


def detokenize(token: str, field: str, key: bytes) -> str:
    """The value behind a reversible token, for whoever holds the key.

    Raises:
        MicroflowError: not a reversible token, made with another key or for another field, or altered.
    """
    beginning = prefix(key, "R1")
    if not token.startswith("R1-"):
        raise MicroflowError("this is not a reversible token", hint="tokens are reversible if made with --reversible")
    if not token.startswith(beginning):
        raise MicroflowError("the token was made with another key")
    try:
        plain = _siv(key).decrypt(bytes.fromhex(token.removeprefix(beginning)), [domain(field)])
    except (InvalidTag, ValueError):
        raise MicroflowError("the token belongs to another field, or was altered") from None
    return "" if plain == b"\x00" else plain.decode()


def _siv(key: bytes) -> AESSIV:
    if len(key) * 8 not in {256, 512}:
        raise KeyMaterialError("reversible tokens need a key of 256 or 512 bits (AES-SIV uses it as two keys)")
    return AESSIV(key)


def _as_text(column: pa.Array) -> pa.Array:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _text_of(value: Any) -> str:
    """As Arrow writes it, so that both forms agree."""
    return str(pa.scalar(value).cast(pa.string()).as_py())
