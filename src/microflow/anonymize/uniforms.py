"""Random numbers for noise: unpredictable by default, repeatable where research asks for it.

Both are AES-128 in counter mode. Without a seed the key comes from the operating system and the counter never repeats.
With a seed the key is a hash of it and the counter of a record is its record id, so that a record gets the same noise
in every engine, on any worker and in any order; where the data have no record id, records are counted.

`Thresholds` turns a number into an outcome. A binary search over random numbers is a chain of jumps that no processor
can foretell. The numbers' first bits are a place in a guide instead (Chen and Asau 1974): where no threshold shares
these bits with a number, the guide knows how many lie below it, and only the few others are searched for. The answer is
that of the search, bit for bit.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["UNIFORM_BITS", "Thresholds", "Uniforms"]

#: A uniform number is a whole number below two to this power.
UNIFORM_BITS = 63
_KEY_BYTES = 16
_TWO_PER_BLOCK = 2
_LOW_64 = (1 << 64) - 1


class Uniforms:
    """``fields`` independent uniform numbers a record. An instance belongs to one thread.

    A process that was forked from another draws a key of its own; without that, both would add the same noise.
    """

    def __init__(self, fields: int, seed: int | None) -> None:
        self._fields = fields
        self._seed = seed
        self._pairs = -(-fields // _TWO_PER_BLOCK)
        self._layout = struct.Struct(f"<{self._pairs * _TWO_PER_BLOCK}Q")
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._next = 0
        # ECB over a counter is counter mode, for counters that do not follow each other.
        self._encryptor = Cipher(algorithms.AES128(self._key()), modes.ECB()).encryptor()  # noqa: S305

    def _key(self) -> bytes:
        if self._seed is None:
            return secrets.token_bytes(_KEY_BYTES)
        return hashlib.sha256(f"microflow noise {self._seed}".encode()).digest()[:_KEY_BYTES]

    def many(self, rows: int, ids: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.uint64]:
        """Numbers of shape (fields, rows) below 2^63; ``ids`` are used by a seeded source only."""
        blocks = np.empty((self._pairs, rows, _TWO_PER_BLOCK), "<u8")
        blocks[:, :, 0] = self._take(rows) if self._seed is None or ids is None else ids.view(np.uint64)
        blocks[:, :, 1] = np.arange(self._pairs)[:, None]
        stream = self._encryptor.update(blocks.reshape(-1).view(np.uint8).data)
        words = np.frombuffer(stream, "<u8").reshape(blocks.shape).swapaxes(1, 2)
        numbers: npt.NDArray[np.uint64] = np.right_shift(words, np.uint64(64 - UNIFORM_BITS), order="C")
        return numbers.reshape(self._pairs * _TWO_PER_BLOCK, rows)[: self._fields]

    def one(self, record_id: int | None = None) -> list[int]:
        """The numbers of one record; equal to what `many` gives for it."""
        counter = int(self._take(1)[0]) if self._seed is None or record_id is None else record_id & _LOW_64
        blocks = [word for pair in range(self._pairs) for word in (counter, pair)]
        stream = self._layout.unpack(self._encryptor.update(self._layout.pack(*blocks)))
        return [word >> (64 - UNIFORM_BITS) for word in stream[: self._fields]]

    def _take(self, rows: int) -> npt.NDArray[np.uint64]:
        """The next counters."""
        if self._seed is None and self._process != os.getpid():
            self._start()
        first = self._next
        self._next += rows
        return np.arange(first, first + rows, dtype=np.uint64)


#: So many first bits lead to a place in the guide, which then has 64 kB and stays in the processor's cache.
_GUIDE_BITS = 14
_REST = UNIFORM_BITS - _GUIDE_BITS


class Thresholds:
    """Ascending thresholds, of which those that a uniform 63-bit number has reached are counted."""

    def __init__(self, thresholds: Sequence[int]) -> None:
        self.values = tuple(thresholds)
        self._sorted = np.array(self.values, np.uint64)
        first = np.arange(1 << _GUIDE_BITS, dtype=np.uint64) << np.uint64(_REST)
        lowest, highest = (self._search(ends) for ends in (first, first + np.uint64((1 << _REST) - 1)))
        self._guide = np.where(lowest == highest, lowest, -1).astype(np.int32)

    def _search(self, uniforms: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        return np.searchsorted(self._sorted, uniforms, side="right")

    def reached(self, uniforms: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
        """How many thresholds are not above each number."""
        count = self._guide.take((uniforms >> np.uint64(_REST)).view(np.int64))
        unsure = np.flatnonzero(count < 0)
        if len(unsure):
            count[unsure] = self._search(uniforms.take(unsure))
        return count

    def reached_by(self, uniform: int) -> int:
        """The same for one number."""
        return bisect_right(self.values, uniform)
