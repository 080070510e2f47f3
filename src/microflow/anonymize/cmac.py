"""AES-CMAC of many messages at once (NIST SP 800-38B, RFC 4493).

CMAC is CBC over 16-byte blocks, so block ``i`` of one message waits for block ``i - 1`` of the same message but not for
any other message. All messages advance together, one ECB call a block position; where every message begins with one
of a few known prefixes, the chain over the prefix is computed once. A short value then costs one AES block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from microflow.anonymize.text_spans import BLOCK_BYTES, TextSpans

__all__ = ["ManyCmac"]

#: A block, as two words; XOR and AND do not care about byte order.
_Blocks = npt.NDArray[np.uint64]
_BLOCK = np.dtype((np.void, BLOCK_BYTES))
_FEW = 32
"""So many values of more than one block go singly: the fixed cost of arrays is that of about as many."""
_R128 = 0x87
"""The constant by which SP 800-38B reduces a doubled subkey."""


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
    """What is XORed to a last block of 0 to 16 bytes: padding and the subkey that belongs to it."""
    tails = np.zeros((BLOCK_BYTES + 1, 2), np.uint64)
    for length in range(BLOCK_BYTES):
        padding = (bytes(length) + b"\x80").ljust(BLOCK_BYTES, b"\0")
        tails[length] = (_words(padding) ^ _words(padded))[0]
    tails[BLOCK_BYTES] = _words(whole)[0]
    return tails


#: Row n keeps the first n bytes of a block.
_MASKS = np.frombuffer(b"".join(b"\xff" * n + bytes(BLOCK_BYTES - n) for n in range(BLOCK_BYTES + 1)), _BLOCK)
