"""AES-CMAC of many short texts at once: NIST SP 800-38B, RFC 4493.

``tag = AES(...AES(AES(B₁) ⊕ B₂)... ⊕ Bₙ ⊕ K₁ or K₂)``. The chain is serial within a text but not between texts: block
after block, the texts of a microflow go through the AES unit side by side, in one call for all its columns.

Domain separation: the text of field ``f`` is authenticated as ``P(f) ‖ 0x01 ‖ text``, where ``P`` is the length of the
name (two bytes), the name, and zeros up to a whole number of blocks. Its chain value is the same for a whole column.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

__all__ = ["ColumnCmac", "domain"]

BLOCK = 16
Bytes = npt.NDArray[np.uint8]


def domain(field: str) -> bytes:
    """The blocks that say which field a text stands in."""
    name = field.encode()
    prefix = len(name).to_bytes(2, "big") + name
    return prefix + bytes(-len(prefix) % BLOCK)


class ColumnCmac:
    """AES-CMAC under one key (16, 24 or 32 bytes) for the named fields."""

    def __init__(self, key: bytes, fields: tuple[str, ...]) -> None:
        self._encrypt = Cipher(AES(key), ECB()).encryptor().update  # noqa: S305 - CMAC is built from single blocks
        zero = self._encrypt(bytes(BLOCK))
        self._k1 = _doubled(zero)
        self._k2 = _doubled(self._k1)
        self._chains = {field: self._chain(domain(field)) for field in fields}
        self._k1_array, self._k2_array = (np.frombuffer(k, np.uint8) for k in (self._k1, self._k2))
        self._chain_arrays = {field: np.frombuffer(chain, np.uint8) for field, chain in self._chains.items()}
        self._k1_int, self._k2_int = int.from_bytes(self._k1, "big"), int.from_bytes(self._k2, "big")

    def tag(self, field: str, text: bytes) -> bytes:
        """The 16-byte tag of one text in one field."""
        message = b"\x01" + text
        state = self._chains[field]
        while len(message) > BLOCK:
            state = self._encrypt(_xor(state, message[:BLOCK]))
            message = message[BLOCK:]
        if len(message) == BLOCK:
            last, key = int.from_bytes(message, "big"), self._k1_int
        else:
            last, key = int.from_bytes(message + _PADS[BLOCK - len(message)], "big"), self._k2_int
        return self._encrypt((last ^ key ^ int.from_bytes(state, "big")).to_bytes(BLOCK, "big"))

    def tags(self, columns: dict[str, pa.Array]) -> dict[str, Bytes]:
        """For each column of text its tags, a (rows, 16) array; the rows of nulls are undefined."""
        groups = [
            _Group(field, rows, self._blocks(texts))
            for field, column in columns.items()
            for rows, texts in _by_length(column)
        ]
        tags = {field: np.empty((len(column), BLOCK), np.uint8) for field, column in columns.items()}
        for count in {group.blocks.shape[1] for group in groups}:
            alike = [group for group in groups if group.blocks.shape[1] == count]
            state = np.concatenate([np.broadcast_to(self._chain_arrays[g.field], (len(g.rows), BLOCK)) for g in alike])
            blocks = np.concatenate([group.blocks for group in alike])
            for index in range(count):
                mixed = (state ^ blocks[:, index]).tobytes()
                state = np.frombuffer(self._encrypt(mixed), np.uint8).reshape(-1, BLOCK)
            start = 0
            for group in alike:
                tags[group.field][group.rows] = state[start : start + len(group.rows)]
                start += len(group.rows)
        return tags

    def _blocks(self, texts: Bytes) -> Bytes:
        """Texts of one length, a (rows, length) array, as padded and masked blocks: (rows, blocks, 16)."""
        rows, length = texts.shape
        count = (length + 1 + BLOCK - 1) // BLOCK
        padded = np.zeros((rows, count * BLOCK), np.uint8)
        padded[:, 0] = 1
        padded[:, 1 : length + 1] = texts
        if length + 1 == count * BLOCK:
            padded[:, -BLOCK:] ^= self._k1_array
        else:
            padded[:, length + 1] = 0x80
            padded[:, -BLOCK:] ^= self._k2_array
        return padded.reshape(rows, count, BLOCK)

    def _chain(self, prefix: bytes) -> bytes:
        state = bytes(BLOCK)
        for start in range(0, len(prefix), BLOCK):
            state = self._encrypt(_xor(state, prefix[start : start + BLOCK]))
        return state


class _Group:
    """Texts of one length in one field: which rows, and their blocks."""

    __slots__ = ("blocks", "field", "rows")

    def __init__(self, field: str, rows: npt.NDArray[np.int64] | slice, blocks: Bytes) -> None:
        self.field = field
        self.rows = np.arange(len(blocks)) if isinstance(rows, slice) else rows
        self.blocks = blocks


_PADS = tuple(b"\x80" + bytes(max(length - 1, 0)) for length in range(BLOCK + 1))


def _by_length(column: pa.Array) -> list[tuple[npt.NDArray[np.int64] | slice, Bytes]]:
    """The texts that are not null, by length: their rows and a (rows, length) array of their UTF-8 bytes."""
    _, offset_buffer, data_buffer = column.buffers()
    first = column.offset
    offsets = np.frombuffer(offset_buffer, np.int32)[first : first + len(column) + 1].astype(np.int64)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
    lengths = np.diff(offsets)
    if not len(lengths):
        return []
    if column.null_count == 0 and (lengths == lengths[0]).all():
        return [(slice(None), data[offsets[0] : offsets[-1]].reshape(len(column), lengths[0]))]
    valid = np.asarray(column.is_valid())
    groups: list[tuple[npt.NDArray[np.int64] | slice, Bytes]] = []
    for length in np.unique(lengths[valid]):
        rows = np.flatnonzero(valid & (lengths == length))
        groups.append((rows, data[offsets[rows][:, None] + np.arange(length)]))
    return groups


def _doubled(block: bytes) -> bytes:
    """Multiplication by x in GF(2¹²⁸): the subkeys of SP 800-38B, section 6.1."""
    number = int.from_bytes(block, "big") << 1
    return ((number ^ 0x87) & (2**128 - 1) if number >> 128 else number).to_bytes(BLOCK, "big")


def _xor(first: bytes, second: bytes) -> bytes:
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).to_bytes(BLOCK, "big")
