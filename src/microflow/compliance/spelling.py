"""The same text as a search reads it: identifiers that are hidden by how they are written, written plainly.

Digits of all scripts become ASCII, dashes a hyphen, blanks a space, HTML character references what they stand for;
characters without a width are left out, and so are the blanks of digits that are written one by one (``4 1 1 1 …``).
Every character remembers where it stood, so that a span can be told in code points of the original.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass

__all__ = ["RESPELLED", "SUSPICIOUS", "Spelled", "folded", "plain", "simplified", "with_marks"]

#: Characters without a width, or that only say how the one before is drawn.
_UNSEEN = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20e3\ufe00-\ufe0f\ufeff"
#: From here on Unicode has forms of presentation, and characters made of others.
_FORMS = 0xFE00
#: In the syntax of Rust's regular expressions: what `plain` may turn into a digit, ``@``, ``://`` or ``www.``.
SUSPICIOUS = rf"&|[{_UNSEEN}\x{{FE00}}-\x{{10FFFF}}]|\p{{N}}"
#: In the same syntax: every text of which `plain` may move a character, and few others.
RESPELLED = r"&|[^\x00-\x7F\x{C0}-\x{24F}]|[0-9](?:[ ./()-]{1,3}[0-9]){7}"

_is_unseen = re.compile(f"[{_UNSEEN}]").match
_REFERENCE = re.compile("&(?:#[0-9]{1,7};?|#[xX][0-9A-Fa-f]{1,6};?|[A-Za-z][A-Za-z0-9]{1,30};)")
#: Digits one by one; where two blanks follow each other, a group ends.
_ONE_BY_ONE = re.compile("[0-9](?<![0-9A-Za-z].)(?:(?: {1,3}| ?[-./()] ?)[0-9]){7,}(?![0-9A-Za-z])")
_BLANKS = re.compile(" +")
#: All but ASCII and the Latin letters of Europe.
_ODD = re.compile("[\u0080-\u00bf\u0250-\U0010ffff]")
_ASCII = frozenset(map(chr, range(128)))
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "ı": "i", "þ": "th"})
_QUOTES = frozenset("’‘ʼ`´′")


@dataclass(frozen=True, slots=True)
class Spelled:
    """A text as it is searched.

    ``starts`` and ``ends`` are each character's place in the original; empty where all stand where they stood.
    """

    text: str
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that a span of this text came from."""
        return (self.starts[start], self.ends[end - 1]) if self.starts else (start, end)


class _Table(dict[str, str]):
    """What each character is read as; found out when it is first met."""

    def __missing__(self, char: str) -> str:
        read = self[char] = self.read(char)
        return read

    def read(self, char: str) -> str:
        if char.isascii():
            return {"\t": " ", "_": "`"}.get(char, char)
        if _is_unseen(char):
            return ""
        category = unicodedata.category(char)
        if category == "Pd" or char == "\u2212":
            return "-"
        if category == "Zs":
            return " "
        if category[0] == "N" or ord(char) >= _FORMS:
            single = unicodedata.normalize("NFKC", char)
            digit = unicodedata.decimal(char, None)
            return str(digit) if digit is not None else single if len(single) == 1 and single.isascii() else char
        return char


class _FoldedTable(_Table):
    def read(self, char: str) -> str:
        if char in _QUOTES:
            return "'"
        read = super().read(char)
        if len(read) != 1 or not unicodedata.category(read).startswith(("L", "M")):
            return " " if read == "`" else read
        bare = unicodedata.normalize("NFKD", read.casefold()).translate(_LETTERS)
        return "".join(mark for mark in bare if not unicodedata.combining(mark))


_PLAIN, _FOLDED = _Table(), _FoldedTable()


def _is_plain(text: str) -> bool:
    """Whether every character is searched for where it stands."""
    if "&" in text or _ONE_BY_ONE.search(text) is not None:
        return False
    return text.isascii() or _ODD.search(text) is None or all(_PLAIN[char] == char for char in set(text) - _ASCII)


def plain(text: str) -> Spelled:
    """The text for the search of patterns. An underscore, a letter to regular expressions, becomes a grave accent.

    >>> plain("card ４１１１\u20091111").text, plain("4 1 1 1 - 1 1 1 1").text, plain("a&commat;b.io").text
    ('card 4111 1111', '4111-1111', 'a@b.io')
    """
    if _is_plain(text):
        return Spelled(with_marks(text))
    return _together(_respelled(text, _PLAIN))


def with_marks(text: str) -> str:
    """A text of which no character moves, as it is searched: without underscores, which count as letters, and tabs."""
    return text.replace("_", "`").replace("\t", " ")


def folded(text: str) -> Spelled:
    """The text for the search of words, without case, accents and underscores.

    >>> folded("Siobhán MÜLLER_Straße").text
    'siobhan muller strasse'
    """
    if text.isascii() and "&" not in text:
        return Spelled(text.lower().replace("_", " ").replace("\t", " ").replace("`", "'"))
    return _respelled(text, _FOLDED)


def simplified(text: str) -> str:
    """The letters and digits of `folded` in their order, and marks; found faster, without places.

    >>> simplified("Siobhán_MÜLLER"), simplified("A_1")
    ('siobhan muller', 'a_1')
    """
    if "&" in text:
        return folded(text).text
    return text.lower() if text.isascii() else "".join(map(_FOLDED.__getitem__, text))


def _respelled(text: str, table: _Table) -> Spelled:
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for reference in [*_REFERENCE.finditer(text), None]:
        begin, end = reference.span() if reference else (len(text), len(text))
        for place in range(position, begin):
            for char in table[text[place]]:
                chars.append(char)
                starts.append(place)
                ends.append(place + 1)
        for char in "".join(table[char] for char in html.unescape(text[begin:end])):
            chars.append(char)
            starts.append(begin)
            ends.append(end)
        position = end
    return Spelled("".join(chars), tuple(starts), tuple(ends))


def _together(spelled: Spelled) -> Spelled:
    """Digits that are written one by one put together: single blanks go, several become one."""
    text = spelled.text
    gone = {
        place
        for digits in _ONE_BY_ONE.finditer(text)
        for blanks in _BLANKS.finditer(text, *digits.span())
        for place in range(blanks.start() + (blanks.end() - blanks.start() > 1), blanks.end())
    }
    if not gone:
        return spelled
    kept = [place for place in range(len(text)) if place not in gone]
    return Spelled(
        "".join(text[place] for place in kept),
        tuple(spelled.starts[place] for place in kept),
        tuple(spelled.ends[place] for place in kept),
    )
