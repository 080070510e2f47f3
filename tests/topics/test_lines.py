"""Lines from a pipe, whatever pieces they come in."""

from __future__ import annotations

import io
import os
import time

from hypothesis import given
from hypothesis import strategies as st

from microflow.topics import lines
from microflow.topics.lines import LONGEST, LineSource


class Pieces(io.RawIOBase):
    """A pipe that gives what was put in at once, and no more."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def read1(self, _most: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def everything(source: LineSource, most: int = 3) -> list[tuple[int, bytes]]:
    found = []
    while not source.ended:
        got = source.poll(most, 1)
        assert len(got) <= most
        found += [(one.offset, one.value) for one in got]
    return found


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_any_pieces_give_the_same_lines(pieces: list[bytes]) -> None:
    """Numbered as they stand there, blank ones left out."""
    text = b"".join(pieces).removeprefix(b"\xef\xbb\xbf")
    expected = [(n, line) for n, line in enumerate(text.split(b"\n")) if line.strip()]
    assert everything(LineSource(Pieces(pieces))) == expected


def test_a_mark_in_front_of_the_first_line_is_no_part_of_it() -> None:
    """UTF-8 may begin with a mark, on standard input as in a file; later it is what it is."""
    mark = b"\xef\xbb\xbf"
    assert everything(LineSource(Pieces([mark[:1], mark[1:] + b"{}\n" + mark]))) == [(0, b"{}"), (1, mark)]


def test_a_line_without_end_is_one_unreadable_message() -> None:
    """It takes bounded memory, and the lines beside it stay."""
    long = [b"first\n" + b"[" * 1_000] + [b"[" * 60_000] * 100 + [b"\nlast\n"]
    found = everything(LineSource(Pieces(long)))
    assert [value for _, value in found][::2] == [b"first", b"last"]
    assert len(found) == 3
    assert len(found[1][1]) == LONGEST + 1


def test_a_line_comes_when_it_is_there_and_not_when_the_pipe_ends() -> None:
    """Waiting ends with the first line; after a restart, lines are numbered from the given number on."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        source = LineSource(pipe, first=7)
        assert source.poll(10, 0.01) == []
        os.write(writing, b"one\ntw")
        started = time.monotonic()
        assert [(one.offset, one.value) for one in source.poll(10, 30)] == [(7, b"one")]
        assert time.monotonic() - started < 10
        os.close(writing)
        assert everything(source) == [(8, b"tw")]


def test_reading_ahead_is_bounded(monkeypatch) -> None:
    """A producer that is faster than the service must wait."""
    monkeypatch.setattr(lines, "_CHUNKS", 2)
    pipe = Pieces([b"x\n"] * 100)
    source = LineSource(pipe)
    time.sleep(0.2)
    assert len(pipe._pieces) >= 96
    assert len(everything(source)) == 100
