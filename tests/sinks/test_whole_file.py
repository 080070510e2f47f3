"""Files that appear whole or not at all, on disks that are full, and at places where nothing can be."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from microflow.errors import MicroflowError
from microflow.sinks.whole_file import WholeFile, refuse_unwritable, write_whole

NOWHERE = Path("/proc/microflow.json")


def test_a_document_is_replaced_at_once(tmp_path: Path) -> None:
    """The new text is there, and nothing beside it."""
    path = tmp_path / "one.json"
    path.write_text("old")
    write_whole(path, "näw")
    assert path.read_text("utf-8") == "näw"
    assert [one.name for one in tmp_path.iterdir()] == ["one.json"]


def test_what_fails_on_the_way_leaves_the_old_one(tmp_path: Path) -> None:
    """An exception in the block: nothing has changed."""
    path = tmp_path / "one.json"
    path.write_text("old")
    whole = WholeFile(path)
    whole.file.write(b"half")
    whole.__exit__(RuntimeError, RuntimeError(), None)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["one.json"]


def test_private_files_are_their_owners_whatever_the_umask(tmp_path: Path) -> None:
    """Mode 0600; others follow the umask."""
    before = os.umask(0)
    try:
        for private in (True, False):
            with WholeFile(tmp_path / str(private), private=private) as whole:
                whole.file.write(b"x")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("True", "False")]
    assert modes == [0o600, 0o666]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said() -> None:
    """The reason and what to do, in the one error that every command shows."""
    with pytest.raises(MicroflowError, match=os.strerror(errno.ENOSPC)) as caught:
        write_whole(Path("/dev/full"), "x")
    assert "make room" in caught.value.hint
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_link_is_followed(tmp_path: Path) -> None:
    """It stays a link, and what it names is replaced."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "x"


def test_a_place_where_nothing_can_be_is_refused_beforehand(tmp_path: Path) -> None:
    """With the system's reason; a good place is left as it was."""
    refuse_unwritable(tmp_path / "new.json")
    assert not list(tmp_path.iterdir())
    with pytest.raises(MicroflowError, match=r"metrics\.json cannot be written: No such file"):
        refuse_unwritable(tmp_path / "no" / "metrics.json")
    if NOWHERE.parent.exists():
        with pytest.raises(MicroflowError, match="cannot be written"):
            refuse_unwritable(NOWHERE)
