"""Token keys: read where they are needed, kept nowhere else.

``MICROFLOW_TOKEN_KEY`` holds the key in hexadecimal, or ``MICROFLOW_TOKEN_KEY_FILE`` names a file that does and that nobody
but its owner may read (mode 0600). There is no default key, and no message ever shows a part of one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from microflow.errors import KeyMaterialError

__all__ = ["KEY_BITS", "read_key"]

#: Lengths a key may have: AES-128, AES-256, HMAC-SHA-512.
KEY_BITS = (128, 256, 512)


def read_key(bits: int, environ: Mapping[str, str] | None = None) -> bytes:
    """The token key of exactly ``bits`` bits.

    Raises:
        KeyMaterialError: no key is set, it is not hexadecimal, it has another length, or others may read its file.

    >>> len(read_key(128, {"MICROFLOW_TOKEN_KEY": "00112233445566778899aabbccddeeff"}))
    16
    """
    if bits not in KEY_BITS:
        raise KeyMaterialError(f"a key has 128, 256 or 512 bits, not {bits}")
    text = _key_text(os.environ if environ is None else environ, bits)
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        raise KeyMaterialError("the token key is not hexadecimal", hint=_remedy(bits)) from None
    if len(key) * 8 != bits:
        raise KeyMaterialError(f"the token key has {len(key) * 8} bits, {bits} are needed", hint=_remedy(bits))
    return key


def _key_text(env: Mapping[str, str], bits: int) -> str:
    if text := env.get("MICROFLOW_TOKEN_KEY"):
        return text
    if not (name := env.get("MICROFLOW_TOKEN_KEY_FILE")):
        raise KeyMaterialError("tokenization needs a key, and none is set", hint=_remedy(bits))
    path = Path(name)
    try:
        if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyMaterialError("others may read the token key file", hint=f"chmod 600 {name}")
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyMaterialError("the token key file cannot be read", hint=_remedy(bits)) from error


def _remedy(bits: int) -> str:
    make = f"python -c 'import secrets; print(secrets.token_hex({bits // 8}))'"
    return f"make one with: {make}; keep it in a file with mode 0600 and name that in MICROFLOW_TOKEN_KEY_FILE"
