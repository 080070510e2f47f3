"""Where keys come from, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from microflow.anonymize.keys import KEY_FILE_VARIABLE, KEY_VARIABLE, key_id, read_key, require_bits
from microflow.errors import KeyMaterialError

KEY = bytes(range(64))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_a_key_has_exactly_the_bits_asked_for(bits: int, key_file: Path) -> None:
    """A longer key is cut, from the variable and from the file alike."""
    assert read_key(bits, {KEY_VARIABLE: KEY.hex()}) == KEY[: bits // 8]
    assert read_key(bits, {KEY_FILE_VARIABLE: str(key_file)}) == KEY[: bits // 8]


def test_a_key_too_short_is_refused_with_the_remedy() -> None:
    """255 bits do not make a 256-bit key, and the hint is a command that makes one of the right length."""
    with pytest.raises(KeyMaterialError, match="248 bits where 256") as caught:
        read_key(256, {KEY_VARIABLE: KEY[:31].hex()})
    assert "secrets.token_hex(32)" in caught.value.hint


@pytest.mark.parametrize("text", ["my secret word", "0123456", "zz" * 32])
def test_what_is_not_hexadecimal_is_not_shown(text: str) -> None:
    """A mistyped key is nearly a key: neither message, hint nor cause may hold a part of it."""
    with pytest.raises(KeyMaterialError) as caught:
        read_key(256, {KEY_VARIABLE: text})
    assert text not in str(caught.value)
    assert caught.value.__suppress_context__


def test_nothing_is_invented() -> None:
    """Without a key there is an error, and an empty variable is no key."""
    for environ in ({}, {KEY_VARIABLE: ""}):
        with pytest.raises(KeyMaterialError, match=KEY_FILE_VARIABLE):
            read_key(256, environ)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_file_that_others_may_read_is_refused(mode: int, key_file: Path) -> None:
    """Group or world permissions of any kind."""
    key_file.chmod(mode)
    with pytest.raises(KeyMaterialError, match=f"mode {mode:04o}") as caught:
        read_key(256, {KEY_FILE_VARIABLE: str(key_file)})
    assert caught.value.hint == f"chmod 600 {key_file}"


def test_an_unreadable_file_is_an_error_of_ours(tmp_path: Path) -> None:
    """A missing file, a folder, and a file that is no text."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff" * 64)
    binary.chmod(0o600)
    for path in (tmp_path / "absent", tmp_path, binary):
        with pytest.raises(KeyMaterialError, match="cannot be read as a key"):
            read_key(256, {KEY_FILE_VARIABLE: str(path)})


def test_only_lengths_with_an_algorithm_are_taken() -> None:
    """192-bit keys are AES keys, but not among the three that are compared."""
    with pytest.raises(KeyMaterialError, match="192"):
        require_bits(KEY, 192)


def test_key_ids_tell_keys_apart() -> None:
    """Keys of which one begins like the other have different names, and a name is no part of the key."""
    names = {key_id(KEY[:16]), key_id(KEY[:32]), key_id(KEY)}
    assert len(names) == 3
    assert not any(name in KEY.hex() for name in names)
