"""Token keys: their sources, and the requirements on them.

A key is read at the moment it is needed, from ``MICROFLOW_TOKEN_KEY`` (hexadecimal) or from the file that
``MICROFLOW_TOKEN_KEY_FILE`` names. Microflow never invents one: with a lost key every join between releases is lost.
"""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from microflow.errors import KeyMaterialError

__all__ = ["KEY_BITS", "KEY_FILE_VARIABLE", "KEY_VARIABLE", "derived_key", "key_id", "read_key", "require_bits"]

KEY_VARIABLE = "MICROFLOW_TOKEN_KEY"
KEY_FILE_VARIABLE = "MICROFLOW_TOKEN_KEY_FILE"
#: Key length in bits to the algorithm it selects.
KEY_BITS = {128: "AES-128-CMAC", 256: "AES-256-CMAC", 512: "HMAC-SHA-512"}

_ID_BYTES = 4


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
    return hmac.digest(key, b"microflow token key id", "sha256")[:_ID_BYTES].hex()


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
