r"""The text of a generalised value, written and read in one place.

============ ============================ ==========================================================
label        written                      covers
============ ============================ ==========================================================
exact        ``37``, ``Divorced``         that value, or every value below that node of the hierarchy
range        ``[30-39]``, ``[0.5-inf]``   numbers from low to high, both included
text range   ``[9th..12th]``              text in the column's order (dates; categories as declared)
prefix       ``941**``                    text that begins so; ``*`` alone covers everything
set          ``{F,M}``, ``{null,[1-5]}``  whatever one of its parts covers; ``null`` is a missing value
============ ============================ ==========================================================

A class in which every value is missing stays null in Arrow. Inside a value the characters ``\ , { } [ ] *`` are
preceded by a backslash, as is the first letter of a value that reads ``null``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from microflow.schema import Column, Value

__all__ = [
    "Label", "exact_label", "name_of", "number_label", "parse", "prefix_label", "set_label", "text_of",
    "text_order", "text_range_label", "values_label",
]  # fmt: skip

_MISSING = "null"
_SPECIAL = re.compile(r"([\\,{}\[\]*])")
_NUMBER = r"(-?(?:[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|inf))"
_NUMBERS = re.compile(rf"\[{_NUMBER}-{_NUMBER}\]")
_TEXTS = re.compile(r"\[((?:\\.|[^\\.])*)\.\.((?:\\.|[^\\.])*)\]", re.DOTALL)
_STARS = re.compile(r"((?:\\.|[^\\*])*)\*+", re.DOTALL)


def exact_label(value: str) -> str:
    r"""Label of a single value, quoted.

    >>> exact_label("Divorced"), exact_label("a,b")
    ('Divorced', 'a\\,b')
    """
    return "\\" + value if value == _MISSING else _SPECIAL.sub(r"\\\1", value)


def number_label(low: float, high: float) -> str:
    """Label of a number, or of a range of numbers with both ends included.

    >>> number_label(37.0, 37.0), number_label(30.0, 39.5)
    ('37', '[30-39.5]')
    """
    return _number(low) if low == high else f"[{_number(low)}-{_number(high)}]"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)  # exact beyond 2**53
    return repr(float(value) + 0.0).removesuffix(".0")  # adding zero turns -0.0, which is no other number, into 0.0


def text_range_label(low: str, high: str) -> str:
    """Label of a range in the column's own order, both ends included.

    >>> text_range_label("2020-01", "2021-12")
    '[2020-01..2021-12]'
    """
    if low == high:
        return exact_label(low)
    first, last = (exact_label(end).replace(".", "\\.") for end in (low, high))
    return f"[{first}..{last}]"


def prefix_label(prefix: str, length: int) -> str:
    """Label of text of which only ``prefix`` is left, filled with stars to ``length``; at least one star.

    >>> prefix_label("941", 5), prefix_label("", 0)
    ('941**', '*')
    """
    return exact_label(prefix) + "*" * max(1, length - len(prefix))


def set_label(parts: Iterable[str], *, missing: bool = False) -> str:
    """Label of a set of labels, or of a missing value; a single part stands alone.

    >>> set_label(["F", "M"]), set_label(["[1-5]"], missing=True), set_label(["F"])
    ('{F,M}', '{null,[1-5]}', 'F')
    """
    listed = ([_MISSING] if missing else []) + list(parts)
    return listed[0] if len(listed) == 1 and not missing else "{" + ",".join(listed) + "}"


def values_label(values: Iterable[str], *, missing: bool) -> str | None:
    """The set of some values as they are, or of a missing one, which alone has no label.

    >>> values_label(["M", "F"], missing=False), values_label([], missing=True)
    ('{F,M}', None)
    """
    parts = [exact_label(value) for value in sorted(values)]
    return set_label(parts, missing=missing) if parts else None


@dataclass(frozen=True, slots=True)
class Label:
    """A label read back. Exactly one of ``exact``, ``prefix``, ``low``/``high`` and ``parts`` is set, or ``missing``.

    ``low`` and ``high`` are numbers in a numeric column and text elsewhere.
    """

    column: Column
    exact: str | None = None
    prefix: str | None = None
    low: float | str | None = None
    high: float | str | None = None
    parts: tuple[Label, ...] = ()
    missing: bool = False

    def covers(self, value: Value) -> bool:
        """True if the original ``value`` may be one of the values of this label.

        >>> parse("{null,F}", Column("sex")).covers(None)
        True
        """
        if self.parts:
            return any(part.covers(value) for part in self.parts)
        if value is None or self.missing:
            return self.missing and value is None
        if self.prefix is not None:
            return name_of(value).startswith(self.prefix)
        if self.exact is not None:
            if self.column.is_numeric and (number := _as_number(self.exact)) is not None and number == value:
                return True
            name, hierarchy = name_of(value) if self.column.is_numeric else text_of(value), self.column.hierarchy
            return self.exact == name or (hierarchy is not None and self.exact in hierarchy.path(name))
        return self._in_range(value)

    def _in_range(self, value: Value) -> bool:
        low, high = self.low, self.high
        if isinstance(low, int | float) and isinstance(high, int | float):
            return isinstance(value, int | float) and low <= value <= high
        place = text_order(self.column)
        return place(str(low)) <= place(text_of(value)) <= place(str(high))


def parse(text: str | None, column: Column) -> Label:
    r"""Read a released value of ``column``; the inverse of the functions that write one.

    >>> zip_code = Column("zip")
    >>> parse("941**", zip_code).covers("94110"), parse(r"a\,b", zip_code).exact
    (True, 'a,b')
    """
    if text is not None and text.startswith("{"):
        return Label(column, parts=tuple(_single(part, column) for part in _split(text[1:-1])))
    return _single(text, column)


def _single(text: str | None, column: Column) -> Label:
    """Label that is no set, read back; a set has none within."""
    if text is None or text == _MISSING:
        return Label(column, missing=True)
    if column.is_numeric and (numbers := _NUMBERS.fullmatch(text)):
        return Label(column, low=_as_number(numbers[1]), high=_as_number(numbers[2]))
    if ends := _TEXTS.fullmatch(text):
        return Label(column, low=_unquote(ends[1]), high=_unquote(ends[2]))
    if stars := _STARS.fullmatch(text):
        return Label(column, prefix=_unquote(stars[1]))
    return Label(column, exact=_unquote(text))


def _as_number(text: str) -> int | float | None:
    """A number, whole ones exactly; ``None`` for the name of a node."""
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return None


def _split(text: str) -> Iterator[str]:
    """The parts between commas that no backslash precedes."""
    yield from (match[0] for match in re.finditer(r"(?:\\.|[^,\\])+|(?<=,)(?=,)|^(?=,)|(?<=,)$", text, re.DOTALL))


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def text_of(value: Value) -> str:
    """A value as it is written in a label, before anything in it is quoted.

    >>> text_of(True), text_of(37)
    ('true', '37')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def name_of(value: Value) -> str:
    """A value as a hierarchy names it: as text, whole numbers without a point.

    >>> name_of(37.0), name_of(0.5)
    ('37', '0.5')
    """
    return text_of(int(value) if isinstance(value, float) and value.is_integer() else value)


def text_order(column: Column) -> Callable[[str], tuple[int, str]]:
    """Sort key of a column's texts: categories as declared, and behind them all others in text order.

    >>> sorted(["c", "low", "high", "b"], key=text_order(Column("risk", categories=("low", "high"))))
    ['low', 'high', 'b', 'c']
    """
    place = {name: i for i, name in enumerate(column.categories)}
    return lambda text: (place.get(text, len(place)), text)
