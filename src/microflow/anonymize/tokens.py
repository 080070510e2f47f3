"""What a token looks like: ``T1-<key id>-<tag>``, 44 characters of ASCII that mean nothing to anybody without the key.

The key id (8 hexadecimal digits, derived from the key by HMAC) tells which key made a token, so that keys can rotate; it
does not reveal the key. Reversible tokens begin with ``R1``.
"""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["TAG_BYTES", "key_id", "prefix", "token_array"]

TAG_BYTES = 16
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)


def key_id(key: bytes) -> str:
    """Eight hexadecimal digits that name a key."""
    return hmac.digest(key, b"microflow key id", hashlib.sha256)[:4].hex()


def prefix(key: bytes, kind: str = "T1") -> str:
    """What every token made with this key begins with."""
    return f"{kind}-{key_id(key)}-"


def token_array(tags: npt.NDArray[np.uint8], beginning: str, like: pa.Array) -> pa.Array:
    """Tags, a (rows, 16) array, as an Arrow array of tokens with the nulls of ``like``."""
    if like.null_count:
        valid = np.asarray(like.is_valid())
        tags = tags[valid]
    start = np.frombuffer(beginning.encode(), np.uint8)
    text = np.empty((len(tags), len(start) + 2 * TAG_BYTES), np.uint8)
    text[:, : len(start)] = start
    text[:, len(start) :] = _HEX[tags].view(np.uint8)
    width = text.shape[1]
    if not like.null_count:
        offsets = np.arange(0, (len(like) + 1) * width, width, dtype=np.int32)
        return pa.StringArray.from_buffers(len(like), pa.py_buffer(offsets), pa.py_buffer(text))
    offsets = np.concatenate([[0], np.cumsum(valid) * width]).astype(np.int32)
    mask = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.StringArray.from_buffers(len(like), pa.py_buffer(offsets), pa.py_buffer(text), mask, int(like.null_count))
