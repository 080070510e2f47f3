"""Tokenization: every identifier becomes a keyed code. Pseudonymisation (GDPR Art. 4(5)), not anonymisation.

A one-way token of a value is the first 128 bits of ``MAC(key, SHA-256(domain)[:16] + value)``: AES-CMAC under keys of
128 and 256 bits, HMAC-SHA-512 under 512 bits; the key is derived for its purpose by HKDF. Equal values of a domain give
equal tokens, so that records can still be joined. A column is a domain of its own, and so is the same column of another
schema; columns that name one ``token_domain`` share it, in whatever schema. With ``reversible`` a token is the value
enciphered by AES-SIV (RFC 5297) with the domain as associated data, and the key holder can turn it back.

A token is written ``version.key_id.body``, of letters, digits and points only: safe in CSV, spreadsheets, URLs and file
names. The key id (eight hexadecimal digits) names the key, so that keys can rotate while older releases stay joinable.
Version 1 was made with the token key itself and the column's name alone; its reversible tokens can still be turned
back.

Quasi-identifiers are left as they are, so who knows them finds the record again: `microflow.assess` measures it.

A key is read at the moment it is needed, from ``MICROFLOW_TOKEN_KEY`` (hexadecimal) or from the file that
``MICROFLOW_TOKEN_KEY_FILE`` names. Microflow never invents one: with a lost key every join between releases is lost.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from microflow.anonymize.cmac import ManyCmac, TextSpans, as_text, hex_columns
from microflow.anonymize.contract import Method, MethodSettings, Released, Scope, with_text
from microflow.errors import InputError, KeyMaterialError
from microflow.formats import plain_time
from microflow.records import copied
from microflow.schema import Column, DatasetSchema, Dtype, Record, Value

__all__ = [
    "KEY_BITS", "KEY_FILE_VARIABLE", "KEY_VARIABLE", "REVERSIBLE", "VERSIONS", "Detokenizer", "SivCodes", "Tokenizer",
    "derived_key", "key_id", "read_key", "require_bits", "token_domain",
]  # fmt: skip

KEY_VARIABLE = "MICROFLOW_TOKEN_KEY"
KEY_FILE_VARIABLE = "MICROFLOW_TOKEN_KEY_FILE"
#: Key length in bits to the algorithm it selects.
KEY_BITS = {128: "AES-128-CMAC", 256: "AES-256-CMAC", 512: "HMAC-SHA-512"}

#: Versions of one-way and of reversible tokens.
ONE_WAY, REVERSIBLE, REVERSIBLE_V1 = "t2", "r2", "r1"
VERSIONS = ("t1", REVERSIBLE_V1, ONE_WAY, REVERSIBLE)
_TAG_BYTES = 16
#: Key bits to the AES-SIV they make, which uses one half to authenticate and the other to encipher.
_SIV_BITS = {256: "AES-128-SIV", 512: "AES-256-SIV"}
_HMAC_BITS = 512


def read_key(bits: int, environ: Mapping[str, str] | None = None) -> bytes:
    """The token key of exactly ``bits`` bits; a longer one is cut to its first ``bits``.

    Raises:
        KeyMaterialError: no key is named, it is not hexadecimal, too short, or in a file that others may read. The
            message never holds a part of the key.

    >>> len(read_key(128, {"MICROFLOW_TOKEN_KEY": "000102030405060708090a0b0c0d0e0f"}))
    16
    """
    env = os.environ if environ is None else environ
    if text := env.get(KEY_VARIABLE):
        return require_bits(_from_hex(text, KEY_VARIABLE, bits), bits, KEY_VARIABLE)
    if name := env.get(KEY_FILE_VARIABLE):
        return require_bits(_from_hex(_read_private(Path(name), bits), name, bits), bits, name)
    raise KeyMaterialError(
        f"tokenization needs a {bits}-bit key, and neither {KEY_VARIABLE} nor {KEY_FILE_VARIABLE} is set",
        hint=_remedy(bits),
    )


def require_bits(key: bytes, bits: int, source: str = "the token key") -> bytes:
    """The first ``bits`` bits of ``key``.

    Raises:
        KeyMaterialError: ``bits`` is not a length we know an algorithm for, or the key has fewer.
    """
    if bits not in KEY_BITS:
        raise KeyMaterialError(
            f"no algorithm for a {bits}-bit key", hint=f"allowed are: {', '.join(map(str, KEY_BITS))}"
        )
    if len(key) * 8 < bits:
        raise KeyMaterialError(f"{source} holds {len(key) * 8} bits where {bits} are needed", hint=_remedy(bits))
    return key[: bits // 8]


def derived_key(key: bytes, purpose: str, bits: int) -> bytes:
    """The key of one purpose (HKDF-SHA-512, RFC 5869): what one purpose gives away says nothing of another's key.

    Args:
        key: The token key.
        purpose: ``one-way`` or ``reversible``.
        bits: The length of the derived key; it is part of what is derived, so that no key is the head of another.
    """
    info = f"microflow token v2 {purpose} {bits}".encode()
    return HKDF(hashes.SHA512(), bits // 8, salt=None, info=info).derive(key)


def key_id(key: bytes) -> str:
    """Eight hexadecimal digits that name a key without telling anything of it (a keyed hash of a fixed text).

    >>> key_id(bytes(16))
    'abd5c47c'
    """
    return hmac.digest(key, b"microflow token key id", "sha256")[:4].hex()


def _from_hex(text: str, source: str, bits: int) -> bytes:
    try:
        return bytes.fromhex(text.strip())
    except ValueError:
        # Without the cause: its message would tell where in the key the odd character stands.
        raise KeyMaterialError(f"{source} is not hexadecimal", hint=_remedy(bits)) from None


def _read_private(path: Path, bits: int) -> str:
    """The text of a file that only its owner may read.

    The permissions are those of the opened file, so that they cannot change between the look and the read.
    """
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyMaterialError(f"{path} may be read by others (mode {mode:04o})", hint=f"chmod 600 {path}")
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise KeyMaterialError(f"{path} cannot be read as a key: {reason}", hint=_remedy(bits)) from None


def _remedy(bits: int) -> str:
    return f'make one with: python -c "import secrets; print(secrets.token_hex({bits // 8}))"'


def _domain(field: str) -> bytes:
    """Sixteen bytes that stand before every value of a field, so that fields have tokens of their own."""
    return hashlib.sha256(field.encode()).digest()[:_TAG_BYTES]


def _bytes(value: str) -> bytes:
    # A lone surrogate (possible in JSON) is no reason to fail; Arrow could not have held it.
    return value.encode("utf-8", "surrogatepass")


class CmacCodes:
    """AES-CMAC under a key of 128 or 256 bits; ``name`` is the key's id in every token, fields are counted as given."""

    def __init__(self, key: bytes, fields: Sequence[str], name: str) -> None:
        domains = [_domain(field) for field in fields]
        self._head = f"{ONE_WAY}.{name}."
        self._many = ManyCmac(key, domains)
        self._begun = [CMAC(algorithms.AES(key)) for _ in domains]
        for begun, domain in zip(self._begun, domains, strict=True):
            begun.update(domain)

    def columns(self, values: Mapping[int, pa.Array]) -> list[pa.Array]:
        """All values of all columns by one chain of AES calls."""
        spans = TextSpans.of(values)
        return hex_columns(self._many.tags(spans), self._head, spans.rows)

    def one(self, field: int, value: str) -> str:
        """The library's own CMAC, begun with the field and copied."""
        mac = self._begun[field].copy()
        mac.update(_bytes(value))
        return self._head + mac.finalize().hex()


class _OneByOne:
    """Codes that no library makes many of at once."""

    def one(self, field: int, value: str) -> str:
        """One token."""
        raise NotImplementedError

    def columns(self, values: Mapping[int, pa.Array]) -> list[pa.Array]:
        """Value by value."""
        return [
            pa.array([None if text is None else self.one(field, text) for text in column.to_pylist()], pa.string())
            for field, column in values.items()
        ]


class HmacCodes(_OneByOne):
    """HMAC-SHA-512 under a key of 512 bits, its first 128 bits."""

    def __init__(self, key: bytes, fields: Sequence[str], name: str) -> None:
        self._head = f"{ONE_WAY}.{name}."
        self._begun = [HMAC(key, hashes.SHA512()) for _ in fields]
        for begun, field in zip(self._begun, fields, strict=True):
            begun.update(_domain(field))

    def one(self, field: int, value: str) -> str:
        mac = self._begun[field].copy()
        mac.update(_bytes(value))
        return self._head + mac.finalize()[:_TAG_BYTES].hex()


class SivCodes(_OneByOne):
    """AES-SIV (RFC 5297) under a key of 256 or 512 bits: equal values have equal tokens; the key turns them back."""

    def __init__(self, key: bytes, fields: Sequence[str], name: str) -> None:
        if len(key) * 8 not in _SIV_BITS:
            raise KeyMaterialError(
                f"reversible tokens cannot be made with a {len(key) * 8}-bit key",
                hint=f"AES-SIV takes one of: {', '.join(map(str, _SIV_BITS))}",
            )
        self._head = f"{REVERSIBLE}.{name}."
        self._cipher = AESSIV(key)
        self._fields = [[field.encode()] for field in fields]

    def one(self, field: int, value: str) -> str:
        """One token: the synthetic initialisation vector and the ciphertext."""
        return self._head + self._cipher.encrypt(_bytes(value), self._fields[field]).hex()

    def restore(self, field: int, body: str) -> str | None:
        """The value behind the hexadecimal ``body`` of a token, or ``None`` if key or field did not make it."""
        try:
            return self._cipher.decrypt(bytes.fromhex(body), self._fields[field]).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            return None


def token_domain(column: Column, schema: DatasetSchema) -> str:
    """Domain of a column's tokens: equal values of one domain have equal tokens.

    >>> mail = Column("mail", token_domain="person_email")
    >>> token_domain(mail, DatasetSchema("orders", (mail,), "gdpr"))
    'domain person_email'
    """
    return f"domain {column.token_domain}" if column.token_domain else f"column {schema.name} {column.name}"


class Tokenizer:
    """Tokenization of identifiers; missing values stay missing and every other column passes.

    Nothing is remembered between rows, so any number of workers with one key give the same tokens.

    Raises:
        KeyMaterialError: the key has fewer than ``settings.key_bits`` bits, or no algorithm takes that many.
    """

    scope = Scope.RECORD

    def __init__(self, settings: MethodSettings, schema: DatasetSchema, key: bytes) -> None:
        key = require_bits(key, settings.key_bits)
        identifiers = schema.identifiers
        self._settings = settings
        self._key_id = key_id(key)
        self._names = schema.names
        self._identifiers = [(field, column.name, column) for field, column in enumerate(identifiers)]
        algorithm: type[CmacCodes | HmacCodes | SivCodes] = CmacCodes
        if settings.reversible or settings.key_bits == _HMAC_BITS:
            algorithm = SivCodes if settings.reversible else HmacCodes
        derived = derived_key(key, "reversible" if settings.reversible else "one-way", settings.key_bits)
        fields = [token_domain(column, schema) for column in identifiers]
        self._codes = algorithm(derived, fields, self._key_id)
        self.output_schema = with_text(schema, identifiers)

    def anonymize(self, rows: pa.RecordBatch) -> Released:
        """Tokenize one microflow; every row is kept."""
        columns = dict(zip(rows.schema.names, rows.columns, strict=True))
        # Most identifiers were blanked by a remedy; they cost nothing.
        filled = {
            field: as_text(columns[name])
            for field, name, _ in self._identifiers
            if columns[name].null_count < rows.num_rows
        }
        tokens = dict(zip(filled, self._codes.columns(filled), strict=True))
        for field, name, _ in self._identifiers:
            columns[name] = tokens[field] if field in tokens else pa.nulls(rows.num_rows, pa.string())
        released = [columns[name] for name in self._names]
        return Released.whole(pa.RecordBatch.from_arrays(released, schema=self.output_schema))

    def anonymize_record(self, record: Record) -> Record:
        """Tokenize one record; equal to the row that `anonymize` gives."""
        released = copied(record, self._names)
        tokenize = self._codes.one
        for field, name, column in self._identifiers:
            value = released[name]
            if value is not None:
                released[name] = tokenize(field, value if isinstance(value, str) else _text(value, column))
        return released

    def describe(self) -> dict[str, object]:
        """Algorithm and key id, and that this is pseudonymisation."""
        reversible = self._settings.reversible
        bits = self._settings.key_bits
        return {
            "method": Method.TOKENIZATION.value,
            "scope": self.scope.value,
            "algorithm": (_SIV_BITS if reversible else KEY_BITS)[bits],
            "key_bits": bits,
            "key_id": self._key_id,
            "reversible": reversible,
            "tokenized": [name for _, name, _ in self._identifiers],
            "privacy_unit": "value of one identifier",
            "guarantee": "pseudonymisation (GDPR Art. 4(5)): without the key no one can tell a value from its token; "
            "quasi-identifiers are unchanged and records remain linkable",
        }


class Detokenizer:
    """Inverse of reversible tokenization, for the holder of the key.

    Raises:
        KeyMaterialError: as `Tokenizer`.
    """

    def __init__(self, schema: DatasetSchema, key: bytes, key_bits: int) -> None:
        key = require_bits(key, key_bits)
        self._key_id = key_id(key)
        self._identifiers = list(enumerate(schema.identifiers))
        name = self._key_id
        derived = derived_key(key, "reversible", len(key) * 8)
        self._codes = {
            REVERSIBLE: SivCodes(derived, [token_domain(column, schema) for _, column in self._identifiers], name),
            REVERSIBLE_V1: SivCodes(key, [column.name for _, column in self._identifiers], name),
        }

    def restore(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with the identifiers' values instead of their tokens, in the types that the schema gives them.

        Raises:
            InputError: an identifier is not a reversible token, or one that was altered or made for another field.
            KeyMaterialError: made with another key.
        """
        for field, column in self._identifiers:
            texts = [self._value(field, column.name, token) for token in rows.column(column.name).to_pylist()]
            try:
                values = _typed(texts, column.dtype)
            except ValueError:
                raise InputError(
                    f"its tokens do not hold values of type {column.dtype}",
                    column=column.name,
                    hint="give the schema that the tokens were made with",
                ) from None
            place = rows.schema.get_field_index(column.name)
            rows = rows.set_column(place, pa.field(column.name, values.type), values)
        return rows

    def _value(self, field: int, name: str, token: str | None) -> str | None:
        if token is None:
            return None
        version, _, rest = token.partition(".")
        made_with, _, body = rest.partition(".")
        if version not in self._codes or not body or "." in body:
            raise InputError(
                "not a reversible token", column=name, hint="they begin with 'r2.'; make them with --reversible"
            )
        if made_with != self._key_id:
            raise KeyMaterialError(
                f"the tokens were made with key {made_with}, and this is key {self._key_id}",
                hint="give the key and the key bits that the file was made with",
            )
        value = self._codes[version].restore(field, body)
        if value is None:
            raise InputError("the token was altered, or made for another field", column=name)
        return value


def _text(value: Value, column: Column) -> str:
    """A value that is not text as Arrow writes it, so that columns and single records give one token."""
    text = pa.scalar(value, column.dtype.arrow).cast(pa.string()).as_py()
    assert isinstance(text, str)
    return text


def _typed(texts: list[str | None], dtype: Dtype) -> pa.Array:
    """Values of a type.

    Raises:
        ValueError: some text is none.
    """
    values = pa.array(texts, pa.string()).cast(dtype.arrow)
    is_time = dtype in {Dtype.DATE, Dtype.TIME, Dtype.TIMESTAMP}
    if is_time and any(text is not None and plain_time(text, dtype) is None for text in set(texts)):
        raise ValueError(dtype)
    return values
