"""Other spellings of one text, and the words by which a record's own values are found.

Digits of all scripts become ASCII, dashes a hyphen, blanks a space, HTML character references what they stand for, and
so do ``[at]`` and ``(dot)``; characters without a width are left out, and so are the blanks of digits that are written
one by one (``4 1 1 1 …``).
Every character keeps its original position, so that a span can be reported in code points of the original.

How `microflow.compliance.own` finds a record's own values, and why some are not looked for, stands there.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

__all__ = [
    "RESPELLED", "SHORTEST_PHONE", "SUSPICIOUS", "TITLES", "WITH_DIGITS", "Spelled", "Terms", "bracketed_mark",
    "folded", "plain", "simplified", "terms_of", "with_marks",
]  # fmt: skip

#: Characters without a width that are no marks of format (Cf) and no marks on another character (Mn, Me).
_UNSEEN = "\u115f\u1160\u180e\uffa0"
_UNSEEN_KINDS = frozenset({"Cf", "Mn", "Me"})
#: What is written for a hyphen, a full stop or a blank, though Unicode takes it for something else.
_STOPS = "\u00b7\u2022\u2024\u2027\u2219\u22c5\u3002\u30fb\uff61\uff65"
_MARKS = {
    **dict.fromkeys("\u02d7\u2043\u2212\u2796\u30fc", "-"),
    **dict.fromkeys(_STOPS, "."),
    **dict.fromkeys("\u0085\u2028\u2029\u2800\u3164", " "),
}
#: From here on Unicode has forms of presentation, and characters made of others.
_FORMS = 0xFE00
#: In the syntax of Rust's regular expressions: every text in which a mark is written as a word, and few others.
_WORDED = r"(?i:[\[({<] ?(?:at|@|dot|\.|punkt|punto|point) ?[\])}>]|%40|[ _-]dot[ _-])"
#: In the same syntax: what `plain` may turn into a digit, ``@``, ``://`` or ``www.``.
SUSPICIOUS = rf"&|{_WORDED}|[{_UNSEEN}{_STOPS}\x{{FE00}}-\x{{10FFFF}}[\p{{N}}--0-9]\p{{Cf}}\p{{Mn}}\p{{Me}}]"
#: In the same syntax: every text of which `plain` may move a character, and few others.
RESPELLED = rf"&|{_WORDED}|@ | @|[^\x00-\x7F\x{{C0}}-\x{{24F}}]|[0-9](?:[ ./()-]{{1,3}}[0-9]){{7}}"

#: A character reference of HTML, which may have been written as text of HTML once more.
_REFERENCE = re.compile("&(?:amp;){0,3}(?:#[0-9]{1,7};?|#[xX][0-9A-Fa-f]{1,6};?|[A-Za-z][A-Za-z0-9]{1,30};)")

#: ``dot`` without brackets is a mark only in front of these ends of domains; words such as ``in`` or ``me`` are none.
_DOMAINS = (
    "(?:com|org|net|edu|gov|mil|int|info|biz|io|co|eu|uk|ie|de|ch|fr|nl|lu|es|pt|pl|cz|sk|hu|ro|gr|se|dk|fi|ru|ua|tr|il|ca|au"
    "|nz|br|mx|ar|cl|za|jp|cn|kr|sg)(?![A-Za-z0-9])"
)
_DOT_WORD, _LABEL = "[ _]-?dot-?[ _]", "[A-Za-z0-9-]{1,63}"
#: Marks written as words, ``anna [at] x (dot) org`` and ``anna at x dot org``; what stands for ``@`` is a group.
_MARK = re.compile(
    r"([ _]?[\[({<] ?(?:at|@) ?[\])}>][ _]?|%40"
    rf"|(?<=[A-Za-z0-9])[ _]-?at-?[ _](?=(?:{_LABEL}{_DOT_WORD}){{1,4}}{_DOMAINS})"
    rf"|(?<=[A-Za-z0-9])(?: @ ?|@ )(?=(?:{_LABEL}\.){{1,4}}{_DOMAINS}))"
    r"|[ _]?[\[({<] ?(?:dot|\.|punkt|punto|point) ?[\])}>][ _]?"
    rf"|(?<=[A-Za-z0-9]){_DOT_WORD}(?=(?:{_LABEL}{_DOT_WORD}){{0,3}}{_DOMAINS})",
    re.IGNORECASE,
)
_REFERENCE_OR_MARK = re.compile(f"{_MARK.pattern}|{_REFERENCE.pattern}", re.IGNORECASE)
_BRACKETED = re.compile(r"[\[({<] ?(?:at|@|dot|\.|pun|poi)", re.IGNORECASE)
_has_bracketed, bracketed_mark = _BRACKETED.search, _BRACKETED.match
#: How often a character reference may have been escaped.
_TIMES = 4
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
    """Reading of each character; found out when it is first met."""

    def __missing__(self, char: str) -> str:
        read = self[char] = self.read(char)
        return read

    def read(self, char: str) -> str:
        if char.isascii():
            return {"\t": " ", "_": "`"}.get(char, char)
        category = unicodedata.category(char)
        if category in _UNSEEN_KINDS or char in _UNSEEN:
            return ""
        if category == "Pd" or char in _MARKS:
            return _MARKS.get(char, "-")
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
    """True if every character is searched for where it stands."""
    if "&" in text or _ONE_BY_ONE.search(text) is not None or _has_words_for_marks(text):
        return False
    return text.isascii() or _ODD.search(text) is None or all(_PLAIN[char] == char for char in set(text) - _ASCII)


def _has_words_for_marks(text: str) -> bool:
    may = "dot" in text or "DOT" in text or " @" in text or "@ " in text or "%40" in text
    return (may or _has_bracketed(text) is not None) and _MARK.search(text) is not None


def plain(text: str) -> Spelled:
    """The text for the search of patterns. An underscore, a letter to regular expressions, becomes a grave accent.

    >>> plain("card ４１１１\u20091111").text, plain("4 1 1 1 - 1 1 1 1").text, plain("a&commat;b [dot] io").text
    ('card 4111 1111', '4111-1111', 'a@b.io')
    """
    if _is_plain(text):
        return Spelled(with_marks(text))
    return _together(_respelled(text, _PLAIN, _REFERENCE_OR_MARK if _has_words_for_marks(text) else _REFERENCE))


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
    return _respelled(text, _FOLDED, _REFERENCE)


def simplified(text: str) -> str:
    """The letters and digits of `folded` in their order, and marks; found faster, without places.

    >>> simplified("Siobhán_MÜLLER"), simplified("A_1")
    ('siobhan muller', 'a_1')
    """
    if "&" in text:
        return folded(text).text
    return text.lower() if text.isascii() else "".join(map(_FOLDED.__getitem__, text))


def _respelled(text: str, table: _Table, several: re.Pattern[str]) -> Spelled:
    """Each character as the table reads it, and what ``several`` finds as one."""
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for found in [*several.finditer(text), None]:
        begin, end = found.span() if found else (len(text), len(text))
        for place in range(position, begin):
            for char in table[text[place]]:
                chars.append(char)
                starts.append(place)
                ends.append(place + 1)
        written = "" if found is None else found[0] if found[0][0] == "&" else "@" if found[1] else "."
        for _ in range(_TIMES if written.startswith("&") else 0):
            written = html.unescape(written)
        for char in "".join(map(table.__getitem__, written)):
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


_PHONES, _DIGITS_ONLY = frozenset({"phone", "fax"}), frozenset({"ssn", "mrn", "pan"})
#: Kinds of which only values with a digit are looked for.
WITH_DIGITS = _PHONES | _DIGITS_ONLY | {"code"}
#: Words in a column's name that do not name a person.
TITLES = frozenset("mr mrs ms miss dr prof sir mme herr frau sr sra jr md phd ii iii iv".split())  # noqa: SIM905
_PARTICLES = frozenset(
    "van von der den del de la le di da dos das du el al bin ibn abu ter ten zu zur the and of".split()  # noqa: SIM905
)
#: Given and family names that are words of everyday English, too.
_EVERYDAY = frozenset(
    """ago ails akin all amber an angel any april are art as ask at ate august autumn back baker ball bank banks be
    bell berry best bill bird bishop black blood blue bond bridges bright brook brown buck bush by call carol carter
    case cash chance chase cherry chip christian church cliff coffey cold colt cook crow crystal daisy dale dawn day
    dean dent destiny die died do down drew dry due duke dusty earl early east eat faith field fields fish foot for
    ford fox frank free gates gay gene get ginger glen go good got grace grant gray green grey guy had hand happy
    harmony has haven hazel he head heath heaven her high hill him his holder home hope hot how hunter if ill in
    iris is it its ivy jack jesus jimmy josh journey joy june justice king knight lake lance lane late let lily
    little long love low major man marina mark marsh may melody merry miles mills minor misty moon my new nick no
    noble north not old olive on one or out over page pain park pat payne pearl pepper per pierce pink pope power
    price prince put rain ran ray red reed rich rivers road rob rock rose ruby run rusty said sandy sat saw say see
    set sharp she short skip sky small snow so son south star stone stormy street strong sue summer sunny swift test
    to told top trace trinity two up us via wade walker ward was we weeks well west wet white who why wild will
    winter winters wise wolf wood woods you young""".split()  # noqa: SIM905
)

_SHORTEST_WORD, _SHORTEST, SHORTEST_PHONE, _LONGEST = 3, 5, 7, 80
#: Two letters side by side; a name of which no part has them is no word to look for.
_has_piece = re.compile(r"[^\W\d_]{2}").search
_PARTS = re.compile(r"[^\W\d_]+(?:['.-][^\W\d_]+)*", re.UNICODE)
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "ae", "Ö": "oe", "Ü": "ue", "ø": "oe", "å": "aa"})
_ASCII_DIGITS = frozenset("0123456789")


@dataclass(frozen=True, slots=True)
class Terms:
    """Search terms for one value: ``words`` with a flag for "needs a capital"; ``compact``: letters and digits."""

    words: tuple[tuple[str, bool], ...] = ()
    compact: tuple[str, ...] = ()
    phone: str = ""


@lru_cache(maxsize=4096)
def terms_of(kind: str, value: str) -> Terms:
    """Search terms for a value of a column of this kind."""
    value = value[:200].strip()
    if kind == "name":
        return _name(value)
    if kind == "street_address":
        return Terms(compact=_address(value))
    compact = _compact(value)
    if kind in WITH_DIGITS:
        digits = "".join(filter(_ASCII_DIGITS.__contains__, compact))
        if kind in _PHONES:
            number = digits.lstrip("0")
            return Terms(phone=number) if len(number) >= SHORTEST_PHONE else Terms()
        if kind == "code":
            return Terms(words=((folded(value).text, False),)) if digits and len(compact) >= _SHORTEST else Terms()
        compact = digits
    return Terms(compact=(compact[:_LONGEST],) if len(compact) >= _SHORTEST else ())


def _compact(value: str) -> str:
    return "".join(filter(str.isalnum, folded(value).text))


def _name(value: str) -> Terms:
    """The parts of a name as words, and the whole of it, in either order, as letters."""
    words: dict[str, bool] = {}
    parts = [part for written in {value, value.translate(_UMLAUTS)} for part in _PARTS.findall(folded(written).text)]
    for part in parts:
        pieces = {part, part.replace("'", "").replace(".", ""), *re.split("['.-]", part)}
        for word in pieces - TITLES - _PARTICLES:
            if _has_piece(word):
                words[word] = len(word) < _SHORTEST_WORD or word in _EVERYDAY
    own = [part for part in _PARTS.findall(folded(value).text) if part not in TITLES]
    for place, part in enumerate(own[:-1]):
        if part in _PARTICLES:  # with what follows it
            following = next((i for i in range(place, len(own)) if own[i] not in _PARTICLES), place)
            words.setdefault(" ".join(own[place : following + 1]), part == own[following])
    letters = ["".join(char for char in part if char.isalpha()) for part in own]
    orders = {"".join(letters), "".join([*letters[1:], *letters[:1]]), "".join([*letters[-1:], *letters[:-1]])}
    whole = tuple(sorted(name for name in orders if words and len(letters) > 1 and len(name) >= _SHORTEST - 1))
    return Terms(tuple(sorted(words.items())), whole)


def _address(value: str) -> tuple[str, ...]:
    """The street with its number, and all of it."""
    compact = [_compact(text)[:_LONGEST] for text in (value, value.partition(",")[0], value.partition("\n")[0])]
    return tuple(sorted({text for text in compact if len(text) > _SHORTEST}))
