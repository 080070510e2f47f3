"""Vectorised CMAC against published vectors and against the library's own."""

from __future__ import annotations

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.cmac import ManyCmac, TextSpans

MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
VECTORS = {
    # RFC 4493, section 4
    "2b7e151628aed2a6abf7158809cf4f3c": {
        0: "bb1d6929e95937287fa37d129b756746",
        16: "070a16b46b4d4144f79bdd9dd04a287c",
        40: "dfa66747de9ae63030ca32611497c827",
        64: "51f0bebf7e3b9d92fc49741779363cfe",
    },
    # NIST SP 800-38B, AES-256
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4": {
        0: "028962f61b7bf89efc6b551f4667d983",
        16: "28a7023f452e8f82bd4bf28d8c37c35c",
        40: "aaf3d8f1de5640c232f5b169b9c911e6",
        64: "e1992190549f6ed5696a2c056c315410",
    },
}


def spans(*columns: list[bytes]) -> TextSpans:
    """Bytes in string columns: the kernel never looks at them as text."""
    return TextSpans.of({lane: pa.array(values, pa.binary()).view(pa.string()) for lane, values in enumerate(columns)})


@pytest.mark.parametrize("key", VECTORS)
def test_published_vectors(key: str) -> None:
    """All lengths of a vector in one call, without a prefix."""
    many = ManyCmac(bytes.fromhex(key), [b""])
    tags = many.tags(spans([MESSAGE[:length] for length in VECTORS[key]]))
    assert [tag.tobytes().hex() for tag in tags] == list(VECTORS[key].values())


@pytest.mark.parametrize("prefix", [16, 32])
@pytest.mark.parametrize("key", VECTORS)
def test_published_vectors_behind_a_prefix(key: str, prefix: int) -> None:
    """Part of the message as a prefix whose chain is computed once: also where nothing follows it."""
    many = ManyCmac(bytes.fromhex(key), [MESSAGE[:prefix]])
    lengths = [length for length in VECTORS[key] if length >= prefix]
    tags = many.tags(spans([MESSAGE[prefix:length] for length in lengths]))
    assert [tag.tobytes().hex() for tag in tags] == [VECTORS[key][length] for length in lengths]


@settings(max_examples=60)
@given(
    key=st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    prefixes=st.lists(st.sampled_from([0, 16, 32]), min_size=1, max_size=3),
    data=st.data(),
)
def test_equal_to_the_library_for_any_messages(key: bytes, prefixes: list[int], data: st.DataObject) -> None:
    """Any lengths mixed in one call, in any number of columns."""
    heads = [data.draw(st.binary(min_size=size, max_size=size)) for size in prefixes]
    columns = [data.draw(st.lists(st.binary(max_size=70), max_size=12)) for _ in heads]
    values = spans(*columns)
    tags = ManyCmac(key, heads).tags(values)
    expected = []
    for head, column in zip(heads, columns, strict=True):
        for value in column:
            mac = CMAC(algorithms.AES(key))
            mac.update(head + value)
            expected.append(mac.finalize())
    assert [tag.tobytes() for tag in tags] == expected


@pytest.mark.parametrize("many", [1, 31, 33, 200])
def test_few_and_many_long_values_take_different_ways_to_one_tag(many: int) -> None:
    """A few long values go singly, many as arrays."""
    key, head = bytes(range(32)), bytes(range(16))
    messages = [bytes([i % 256]) * (17 + i) for i in range(many)] + [b"short"] * 50
    tags = ManyCmac(key, [head]).tags(spans(messages))
    for message, tag in zip(messages, tags, strict=True):
        mac = CMAC(algorithms.AES(key))
        mac.update(head + message)
        assert mac.finalize() == tag.tobytes()


def test_slices_of_a_batch_are_read_where_they_begin() -> None:
    """Microflows are slices: offsets and bytes do not begin at 0."""
    column = pa.array([f"value {i}" * (i % 5) for i in range(40)])
    part = TextSpans.of({0: column.slice(7, 20)})
    assert [part.value(i).decode() for i in range(len(part))] == column.to_pylist()[7:27]
