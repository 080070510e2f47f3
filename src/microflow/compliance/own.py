"""A record's own identifiers in its own prose: what its columns say of its person is looked for in its free text.

No language model: the words to find are known. Of a name each part is looked for as a word, without case and accents;
of numbers the digits, in any grouping; of other identifiers letters and digits, whatever stands between them. What
would redact half of a text is kept from it:

- A name part is a whole word (``Ann`` is not in ``annual``), of at least three letters, and no title or particle
  (``Dr``, ``van``). Two letters (``Li``), and words that prose is full of (``Will``, ``May``, ``Young``), count only
  where the text writes them with a capital; a single letter counts only between other parts (``John F. Kennedy``).
  A whole name is found however it is written, with its parts in either order.
- A number has at least five digits (a telephone number seven), another identifier at least five letters and digits, and
  neither begins nor ends inside a longer one.

Both compiled checks ask `OwnIdentifiers.spans`, so they find the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from microflow.compliance.conditions import READABLE
from microflow.compliance.scanner import Span
from microflow.compliance.spelling import SHORTEST_PHONE, WITH_DIGITS, Terms, folded, simplified, terms_of
from microflow.schema import DatasetSchema, Dtype, Role, Value

__all__ = ["OwnIdentifiers", "joined_spans"]

#: Kinds of columns to the pattern whose rules speak of them.
_PATTERN_OF = {
    "name": "name", "street_address": "address", "phone": "phone", "fax": "phone", "email": "email", "ssn": "ssn",
    "mrn": "mrn", "pan": "card", "url": "url", "ip": "ip", "account": "iban",
}  # fmt: skip
#: Other kinds that identify, of columns of any role.
_IDENTIFYING = frozenset({"health_plan_id", "license", "vehicle", "device", "biometric", "photo", "unique_id"})
_NORTH_AMERICAN, _LOCAL_DIGITS = 10, 8
#: What stands in front of a number's own digits: a country code, a trunk prefix.
_PREFIX = re.compile(
    r"(?:(?<![0-9])(?:\+|00)[ ]?[1-9][0-9]{0,2}[ ().-]{0,2}(?:\(0\)[ ]?)?|(?<![0-9])0{1,2}[ -]?|\+)?\(?\Z"
)
_LONGEST_PREFIX = 12
#: Part of a lower-case name; one without two ASCII letters side by side, or what may be spelled otherwise.
_PIECE = "[a-z]{2,}"
_NO_PIECE = r"&|(?:^|[ ,-])(?:[a-z]?[^a-z ,-])+[a-z]?(?:$|[ ,-])"
_pieces, _has_no_piece = re.compile(_PIECE).findall, re.compile(_NO_PIECE).search
#: The first word of an e-mail or web address that is long enough to be looked for.
_WORD = "[a-z0-9]{3,}"
_first_word = re.compile(_WORD).search
_BY_WORD = frozenset({"email", "url"})
#: So much of the beginning of an address is in a text that holds it, or its street; so much of a code as it is.
_BEGINNING, _HEAD = 6, 4
_MARKS = bytes(code for code in range(256) if not chr(code).isalnum() or code > 127)  # noqa: PLR2004
_LETTERS = bytes(range(97, 123))
_is_readable = re.compile(READABLE).search
#: Between two characters of an identifier there may stand so many others, none a letter or a digit.
_GAP = 4
#: What may stand between two parts of one name: blanks, a comma, initials.
_WITHIN = re.compile(r"[\s,]*(?:(?<![^\W\d_])[^\W\d_]\.?[\s,]*){0,2}-?")


class OwnIdentifiers:
    """The columns of a data set whose values are looked for in its prose, and how.

    Args:
        schema: The data set.
        asked: The names of the patterns that a policy has rules for in the text; a column whose own pattern is not
            among them counts as ``identifier``.

    Attributes:
        named: Columns of names and words: they may be in any text.
        numbered: Columns of which only what holds a digit is looked for, so only in texts that hold one.
        columns: Both.
    """

    def __init__(self, schema: DatasetSchema, asked: Iterable[str]) -> None:
        wanted = frozenset(asked)
        columns: dict[str, tuple[str, str]] = {}
        for column in schema.columns:
            kind = column.kind or ""
            identifies = column.role in (Role.IDENTIFIER, Role.PERSON) or kind in _IDENTIFYING
            own = _PATTERN_OF.get(kind, "identifier" if identifies else "")
            pattern = own if own in wanted else "identifier" if own and "identifier" in wanted else ""
            if pattern and column.role is not Role.FREE_TEXT and column.dtype in (Dtype.STRING, Dtype.INTEGER):
                columns[column.name] = kind, pattern
        self.named = tuple(name for name, (kind, _) in columns.items() if kind not in WITH_DIGITS)
        self.numbered = tuple(name for name, (kind, _) in columns.items() if kind in WITH_DIGITS)
        self.columns = self.named + self.numbered
        self._columns = [columns[name] for name in self.columns]
        self._codes = [name for name in self.columns if columns[name][0] == "code"]

    def may_be_named(self, text: pl.Expr) -> pl.Expr:
        """Expression: true for records whose identifiers may occur in a text without digits."""
        readable = (pl.col(name).cast(pl.String).str.contains(READABLE) for name in self.named)
        return text.is_not_null() & pl.any_horizontal(pl.lit(value=False), *readable).fill_null(value=False)

    def worth_a_look(self, rows: pl.DataFrame, text: str, clues: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
        """Positions of the records with a value that a first look at their texts cannot rule out.

        Args:
            rows: Records, with `columns` and the text.
            text: The column of the text; it is null nowhere.
            clues: Whether it holds a digit, or may.
        """
        worth = np.zeros(rows.height, np.bool_)
        bearing = np.flatnonzero(clues)
        if self._codes and len(bearing):  # a record has several, and hardly ever is one in its text
            worth[bearing] = self._bears_code(rows[[text, *self._codes]][bearing], text)
        simple: dict[int, str] = {}
        texts: list[str] | None = None
        for name, (kind, _) in zip(self.columns, self._columns, strict=True):
            if kind == "code" or rows[name].null_count() == rows.height:
                continue
            texts = texts or rows[text].to_list()
            for index, value in enumerate(rows[name].to_list()):
                if value is None or worth[index] or not (clues[index] or kind not in WITH_DIGITS):
                    continue
                if _is_readable(str(value)):
                    if index not in simple:
                        simple[index] = simplified(texts[index])
                    worth[index] = _may_hold(simple[index], kind, str(value))
        return np.flatnonzero(worth)

    def _bears_code(self, rows: pl.DataFrame, text: str) -> npt.NDArray[np.bool_]:
        """Flags of texts that hold the beginning of a code, or of which that is not found out so simply."""
        heads = rows.select_seq(
            pl.col(text).str.to_lowercase(),
            *(pl.col(name).cast(pl.String).str.slice(0, _HEAD).str.to_lowercase() for name in self._codes),
        )
        found = heads.select_seq(
            pl.any_horizontal(
                (pl.col(text).str.len_bytes() != pl.col(text).str.len_chars()),
                pl.col(text).str.contains("&", literal=True),
                pl.concat_str(self._codes, ignore_nulls=True).str.contains("[^a-z0-9]"),
                *(pl.col(text).str.contains(pl.col(name), literal=True).fill_null(value=False) for name in self._codes),
            )
        )
        return found.to_series().to_numpy()

    def spans(self, text: str, values: Sequence[Value]) -> list[Span]:
        """Pattern, start and end (code points) of a record's own identifiers in one of its texts, by start.

        ``values`` are those of `columns`, or of `named` alone. Spans of one pattern do not overlap.
        """
        simple = simplified(text)
        wanted = [
            (kind, pattern, written)
            for (kind, pattern), value in zip(self._columns, values, strict=False)
            if value is not None and _may_hold(simple, kind, written := str(value))
        ]
        if not wanted:
            return []
        search = _Search(text)
        found: dict[str, list[tuple[int, int]]] = {}
        for kind, pattern, value in wanted:
            found.setdefault(pattern, []).extend(search.places(terms_of(kind, value)))
        return sorted(
            (
                (pattern, *search.original(start, end))
                for pattern, places in found.items()
                for start, end in _united(places, search.text, parts=pattern == "name")
                if not _is_mask(text, *search.original(start, end))
            ),
            key=lambda span: span[1:],
        )


def _may_hold(text: str, kind: str, value: str) -> bool:
    """A first look, before it is known what to look for: false only where a simplified text cannot hold the value.

    Or not so much of it in one piece as has to be so.
    """
    if kind == "code" and (head := value[:_HEAD]).isalnum() and head.isascii() and head.lower() not in text:
        return False
    value = value[:200].lower()
    if _is_readable(value) is None or (
        kind in _BY_WORD and ((word := _first_word(value)) is None or word[0] not in text)
    ):
        return False
    if kind == "name":
        return any(piece in text for piece in _pieces(value)) or _has_no_piece(value) is not None
    if not value.isascii() or "&" in value:
        return True
    compact, there = value.encode().translate(None, _MARKS), text.encode().translate(None, _MARKS)
    if kind in WITH_DIGITS:
        return compact.translate(None, _LETTERS)[-SHORTEST_PHONE:] in there.translate(None, _LETTERS)
    return compact[:_BEGINNING] in there


class _Search:
    """A text that is searched: folded, and its letters and digits alone, once they are asked for."""

    def __init__(self, text: str) -> None:
        spelled = folded(text)
        self.original, self.text, self._written = spelled.original, spelled.text, text

    def places(self, terms: Terms) -> list[tuple[int, int]]:
        """Places of these terms in the folded text."""
        words = [(word, capital) for word, capital in terms.words if word in self.text]
        found = [place for word, capital in words for place in self._words(word, capital)]
        if words or not terms.words:  # the whole of a name is not there without its parts
            found += [place for letters in terms.compact for place in self._wholes(letters)]
        return found + (list(self._phones(terms.phone)) if terms.phone else [])

    def _words(self, word: str, capital: bool) -> Iterable[tuple[int, int]]:
        text = self.text
        start = text.find(word)
        while start >= 0:
            end = start + len(word)
            if not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()) and (
                not capital or self._written[self.original(start, end)[0]].isupper()
            ):
                yield start, end
            start = text.find(word, end)

    @cached_property
    def _compact(self) -> str:
        return "".join(filter(str.isalnum, self.text))

    @cached_property
    def _stands(self) -> list[int]:
        """Place of each letter and digit in the text."""
        return [place for place, char in enumerate(self.text) if char.isalnum()]

    def _wholes(self, term: str) -> Iterable[tuple[int, int]]:
        """Letters and digits in any grouping, not glued to others: digits to digits, or letters to either."""
        glued = str.isdigit if term.isdigit() else str.isalnum
        first = self._compact.find(term)
        while first >= 0:
            last = first + len(term) - 1
            if self._is_close(first, last) and not any(map(glued, self._beside(first, last))):
                yield self._stands[first], self._stands[last] + 1
            first = self._compact.find(term, first + 1)

    def _is_close(self, first: int, last: int) -> bool:
        stands = self._stands
        return all(stands[i + 1] - stands[i] <= _GAP for i in range(first, last))

    def _beside(self, first: int, last: int) -> tuple[str, str]:
        before, behind = self._stands[first] - 1, self._stands[last] + 1
        return self.text[before : before + 1] if before >= 0 else "", self.text[behind : behind + 1]

    def _phones(self, number: str) -> Iterable[tuple[int, int]]:
        """A number with or without country code, trunk prefix and (in North America) area code."""
        compact, stands = self._compact, self._stands
        tail = number[-(SHORTEST_PHONE if len(number) == _NORTH_AMERICAN or number[0] == "1" else _LOCAL_DIGITS) :]
        at = compact.find(tail)
        while at >= 0:
            first, last, more = at, at + len(tail) - 1, number[: -len(tail)]
            while more and first and compact[first - 1] == more[-1] and self._is_close(first - 1, first):
                first, more = first - 1, more[:-1]
            start = stands[first]
            prefix = _PREFIX.search(self.text[max(start - _LONGEST_PREFIX, 0) : start])
            start -= prefix.end() - prefix.start() if prefix else 0
            beside = self.text[start - 1 : start], self._beside(first, last)[1]
            if self._is_close(first, last) and not any(map(str.isdigit, beside)):
                yield start, stands[last] + 1
            at = compact.find(tail, at + 1)


def _united(spans: list[tuple[int, int]], text: str, *, parts: bool) -> list[tuple[int, int]]:
    """Spans that overlap as one, and so ``parts`` of a name with nothing but blanks, a comma or initials between."""
    united: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if united and (start < united[-1][1] or (parts and _are_one(text, united[-1][1], start))):
            united[-1] = united[-1][0], max(united[-1][1], end)
        else:
            united.append((start, end))
    return united


def _are_one(text: str, end: int, start: int) -> bool:
    return start - end <= 2 * _GAP and "\n" not in text[end:start] and _WITHIN.fullmatch(text, end, start) is not None


def _is_mask(text: str, start: int, end: int) -> bool:
    """True if it is what a remedy put there, as ``[NAME]``."""
    return text[start - 1 : start] == "[" and text[end : end + 1] == "]" and text[start:end].isupper()


def joined_spans(text: str, found: list[Span], own: list[Span]) -> list[Span]:
    """Findings of patterns and own identifiers, by start, none overlapping another; patterns keep theirs whole.

    >>> joined_spans("Anna M. anna.m@x.org", [("email", 8, 20)], [("name", 0, 7), ("name", 6, 14)])
    [('name', 0, 7), ('email', 8, 20)]
    """
    pieces: list[Span] = []
    index = reached = 0
    for name, start, end in own:
        position = max(start, reached)
        reached = max(reached, end)
        while index < len(found) and found[index][2] <= position:
            index += 1
        there = index
        while there < len(found) and found[there][1] < end:
            pieces += _trimmed(text, name, position, found[there][1])
            position = max(position, found[there][2])
            there += 1
        pieces += [(name, position, end)] if position == start else _trimmed(text, name, position, end)
    return sorted([*found, *pieces], key=lambda span: span[1]) if pieces else found


def _trimmed(text: str, name: str, start: int, end: int) -> list[Span]:
    """Rest of a span beside another, without the marks at its ends; nothing, if it is only marks."""
    while start < end and not text[start].isalnum():
        start += 1
    while start < end and not text[end - 1].isalnum():
        end -= 1
    return [(name, start, end)] if start < end else []
