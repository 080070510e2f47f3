"""AES-CMAC of many messages at once (NIST SP 800-38B, RFC 4493), and the text columns that it reads and writes.

CMAC is CBC over 16-byte blocks, so block ``i`` of one message waits for block ``i - 1`` of the same message but not for
any other message. All messages advance together, one ECB call a block position; where every message begins with one
of a few known prefixes, the chain over the prefix is computed once. A short value then costs one AES block. Text is
read from Arrow's buffers without making a Python object, and written back the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["ManyCmac", "TextSpans", "as_text", "even_offsets", "first_bytes", "hex_columns", "valid_rows"]

#: A span may be read this far beyond its end without leaving the data.
BLOCK_BYTES = 16

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TextSpans:
    """The values of some text columns in one piece: value ``i`` is ``data[starts[i] : starts[i] + lengths[i]]``.

    ``data`` is uint8 and holds `BLOCK_BYTES` more than the values need; ``lanes`` is the column of each value. All
    index arrays are int64. Missing values are left out: ``rows`` says for each column how many rows it has, or which of
    them are there.
    """

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    lanes: npt.NDArray[np.int64]
    rows: tuple[Flags | int, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def value(self, index: int) -> bytes:
        """The bytes of one value."""
        start = int(self.starts[index])
        return self.data[start : start + int(self.lengths[index])].tobytes()

    @classmethod
    def of(cls, columns: Mapping[int, pa.Array]) -> TextSpans:
        """Lay out the values of string columns, by lane.

        >>> spans = TextSpans.of({0: pa.array(["ab", None, ""]), 7: pa.array(["c"])})
        >>> [spans.value(i) for i in range(3)], spans.lanes.tolist()
        ([b'ab', b'', b'c'], [0, 0, 7])
        """
        values = sum(len(column) - column.null_count for column in columns.values())
        starts, lengths, lanes = (np.empty(values, np.int64) for _ in range(3))
        pieces, rows = [], []
        first = base = 0
        for lane, column in columns.items():
            offsets, data = _buffers(column)
            present = valid_rows(column)
            begins, ends = offsets[:-1], offsets[1:]
            if present is not None:
                begins, ends = begins[present], ends[present]
            last = first + len(begins)
            np.add(begins, base - int(offsets[0]), out=starts[first:last])
            np.subtract(ends, begins, out=lengths[first:last])
            lanes[first:last] = lane
            pieces.append(data)
            rows.append(len(column) if present is None else present)
            first, base = last, base + len(data)
        return cls(np.concatenate([*pieces, np.zeros(BLOCK_BYTES, np.uint8)]), starts, lengths, lanes, tuple(rows))


def _buffers(column: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Offsets, and the bytes between the first and the last of them, of a column that may be a slice."""
    if len(column) == 0:
        return np.zeros(1, np.int32), np.empty(0, np.uint8)
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32, len(column) + 1, column.offset * 4)
    first, last = int(offsets[0]), int(offsets[-1])
    if first == last:
        return offsets, np.empty(0, np.uint8)
    return offsets, np.frombuffer(data_buffer, np.uint8, last - first, first)


def valid_rows(column: pa.Array) -> Flags | None:
    """Flags of the rows that are not missing, or ``None`` if no row is missing.

    >>> valid_rows(pa.array(["a", None, "b"]).slice(1)).tolist()
    [False, True]
    """
    if not column.null_count:
        return None
    first, last = column.offset, column.offset + len(column)
    bitmap = np.frombuffer(column.buffers()[0], np.uint8)[first // 8 : (last + 7) // 8]
    return np.unpackbits(bitmap, count=last - first // 8 * 8, bitorder="little")[first % 8 :].view(np.bool_)


def as_text(column: pa.Array) -> pa.Array:
    """The values as Arrow writes them."""
    return column if column.type == pa.string() else column.cast(pa.string())


def first_bytes(column: pa.Array) -> npt.NDArray[np.uint8]:
    """The first byte of each text of a column; 0 where a text is empty or missing.

    >>> first_bytes(pa.array(["941", None, "", "10"])).tolist()
    [57, 0, 0, 49]
    """
    offsets, data = _buffers(column)
    if not len(data):
        return np.zeros(len(column), np.uint8)
    begins = offsets[:-1] - offsets[0]
    bytes_: npt.NDArray[np.uint8] = data.take(begins, mode="clip")
    bytes_ *= offsets[1:] > offsets[:-1]
    present = valid_rows(column)
    if present is not None:
        bytes_ *= present
    return bytes_


@lru_cache(maxsize=16)
def even_offsets(rows: int, width: int) -> pa.Buffer:
    """Offsets of texts of equal length; columns of one microflow have equally many."""
    return pa.py_buffer(np.arange(0, (rows + 1) * width, width, dtype=np.int32))


#: A block, as two words; XOR and AND do not care about byte order.
_Blocks = npt.NDArray[np.uint64]
_BLOCK = np.dtype((np.void, BLOCK_BYTES))
_FEW = 32
"""So many values of more than one block go singly: the fixed cost of arrays is that of about as many."""
_R128 = 0x87
"""The constant by which SP 800-38B reduces a doubled subkey."""


@lru_cache(maxsize=1)
def _hex_table() -> npt.NDArray[np.uint32]:
    """Two bytes to four hexadecimal digits by one look-up; 256 kB, made when first asked for."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    pairs = np.arange(1 << 16, dtype="<u2").view(np.uint8).reshape(-1, 2)
    return np.stack([digits[pairs >> 4], digits[pairs & 15]], axis=-1).reshape(-1, 4).view(np.uint32)[:, 0]


def hex_columns(tags: npt.NDArray[np.uint8], head: str, rows: Sequence[Flags | int]) -> list[pa.Array]:
    """Columns of texts ``head + tag`` in hexadecimal digits, whose memory is shared and not copied.

    Args:
        tags: Shape (n, bytes), those of the first column before those of the second.
        head: What stands before each tag.
        rows: For each column how many rows it has, or which of them are there.
    """
    # Fields of raw bytes are copied whole, several times faster than the same bytes as columns of a matrix.
    parts = np.dtype([("head", f"V{len(head)}"), ("tag", f"V{tags.shape[1] * 2}")])
    texts = np.empty(len(tags), parts)
    texts["head"] = np.void(head.encode("ascii"))
    texts["tag"] = _hex_table().take(tags.view("<u2")).reshape(-1).view(parts["tag"])
    sizes = [int(column) if isinstance(column, int) else int(np.count_nonzero(column)) for column in rows]
    pieces = [texts[first:last] for first, last in pairwise(accumulate(sizes, initial=0))]
    return [_hex_column(piece, column) for piece, column in zip(pieces, rows, strict=True)]


def _hex_column(texts: npt.NDArray[np.void], rows: Flags | int) -> pa.Array:
    data = pa.py_buffer(texts.view(np.uint8))
    width = texts.dtype.itemsize
    if isinstance(rows, int):
        return pa.StringArray.from_buffers(rows, even_offsets(rows, width), data)
    offsets = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(rows, out=offsets[1:])
    offsets *= width
    valid = pa.py_buffer(np.packbits(rows, bitorder="little"))
    return pa.StringArray.from_buffers(len(rows), pa.py_buffer(offsets), data, valid, len(rows) - len(texts))


class ManyCmac:
    """CMAC under one key of messages ``prefixes[lane] + value``.

    ``key`` has 16, 24 or 32 bytes; each prefix has whole blocks (or none).
    """

    def __init__(self, key: bytes, prefixes: Sequence[bytes]) -> None:
        # ECB is the bare block cipher, which a mode of operation is made of; nothing is enciphered by ECB alone.
        self._encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
        whole = _double(self._encryptor.update(bytes(BLOCK_BYTES)))
        self._last_tails = _last_tails(whole, _double(whole))
        self._states = np.concatenate([np.empty((0, 2), np.uint64), *(self._chain(prefix) for prefix in prefixes)])
        # Row (lane, n) finishes a value of n < 16 bytes, or 16, that is alone behind its prefix.
        self._first_tails = self._states[:, None, :] ^ self._last_tails
        for lane, prefix in enumerate(prefixes):
            if prefix:  # an empty value leaves the prefix's own last block as the message's last
                last = self._chain(prefix[:-BLOCK_BYTES]) ^ _words(prefix[-BLOCK_BYTES:])
                self._first_tails[lane, 0] = (last ^ _words(whole))[0]

    def tags(self, values: TextSpans) -> npt.NDArray[np.uint8]:
        """The 16-byte tags, one row a value."""
        blocks = np.maximum((values.lengths + (BLOCK_BYTES - 1)) // BLOCK_BYTES, 1)
        tails = self._first_tails.reshape(-1, 2).view(_BLOCK)[:, 0]
        in_last = values.lengths - (blocks - 1) * BLOCK_BYTES
        closing = tails.take(values.lanes * (BLOCK_BYTES + 1) + in_last).view(np.uint64).reshape(-1, 2)
        longer = np.flatnonzero(blocks > 1)
        if len(longer):
            closing[longer] = self._last_tails[in_last[longer]] ^ self._advance(values, longer, blocks[longer])
        last = _blocks_at(values.data, values.starts + (blocks - 1) * BLOCK_BYTES)
        last &= _MASKS.take(in_last).view(np.uint64).reshape(-1, 2)
        last ^= closing
        return self._encrypt(last).view(np.uint8).reshape(-1, BLOCK_BYTES)

    def _advance(self, values: TextSpans, rows: npt.NDArray[np.int64], blocks: npt.NDArray[np.int64]) -> _Blocks:
        """The chain over all blocks but the last of the values at ``rows``."""
        if len(rows) <= _FEW:
            return np.concatenate([self._advance_one(values, row) for row in rows])
        state = self._states[values.lanes[rows]]
        for position in range(int(blocks.max()) - 1):
            active = np.flatnonzero(blocks - 1 > position)
            block = _blocks_at(values.data, values.starts[rows[active]] + position * BLOCK_BYTES)
            state[active] = self._encrypt(state[active] ^ block)
        return state

    def _advance_one(self, values: TextSpans, row: int) -> _Blocks:
        """The same for one value: a leaked name among a thousand codes is not worth an array."""
        value = values.value(row)
        return self._chain(
            value[: (len(value) - 1) // BLOCK_BYTES * BLOCK_BYTES], self._states[values.lanes[row]].tobytes()
        )

    def _chain(self, blocks: bytes, state: bytes = bytes(BLOCK_BYTES)) -> _Blocks:
        """The state after some whole blocks."""
        for start in range(0, len(blocks), BLOCK_BYTES):
            mixed = int.from_bytes(state) ^ int.from_bytes(blocks[start : start + BLOCK_BYTES])
            state = self._encryptor.update(mixed.to_bytes(BLOCK_BYTES))
        return _words(state)

    def _encrypt(self, blocks: _Blocks) -> _Blocks:
        enciphered = self._encryptor.update(blocks.reshape(-1).view(np.uint8).data)
        return np.frombuffer(enciphered, np.uint64).reshape(-1, 2)


def _words(block: bytes) -> _Blocks:
    return np.frombuffer(block, np.uint64).reshape(1, 2)


def _blocks_at(data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> _Blocks:
    """Sixteen bytes from each start, wherever it lies: a window over every position, of which some are taken."""
    windows = np.ndarray((len(data) - BLOCK_BYTES + 1,), _BLOCK, data, strides=(1,))
    return windows[starts].view(np.uint64).reshape(-1, 2)


def _double(block: bytes) -> bytes:
    """Doubling in GF(2^128), by which SP 800-38B derives subkeys."""
    number = int.from_bytes(block, "big") << 1
    carry = number >> 128
    return ((number & (1 << 128) - 1) ^ carry * _R128).to_bytes(BLOCK_BYTES, "big")


def _last_tails(whole: bytes, padded: bytes) -> _Blocks:
    """Masks of a last block of 0 to 16 bytes, to be XORed with it: padding and the subkey that belongs to it."""
    tails = np.zeros((BLOCK_BYTES + 1, 2), np.uint64)
    for length in range(BLOCK_BYTES):
        padding = (bytes(length) + b"\x80").ljust(BLOCK_BYTES, b"\0")
        tails[length] = (_words(padding) ^ _words(padded))[0]
    tails[BLOCK_BYTES] = _words(whole)[0]
    return tails


#: Row n keeps the first n bytes of a block.
_MASKS = np.frombuffer(b"".join(b"\xff" * n + bytes(BLOCK_BYTES - n) for n in range(BLOCK_BYTES + 1)), _BLOCK)
