"""Formats: how a source writes dates, times, numbers and booleans, each compiled to two forms that agree.

A *date format* is written with letters: ``MM/DD/YYYY``, ``D MMM YYYY``, ``YYYY-MM-DDTHH:mm:ssZ``, ``hh:mm a``.
``YYYY`` is a year and ``YY`` its last two digits (00-68 are 2000-2068, as in POSIX); ``MM``, ``DD``, ``HH``, ``hh``
(1-12), ``mm``, ``ss`` take two digits, ``M``, ``D``, ``H``, ``h`` one or two; ``MMM`` is Jan … Dec and ``MMMM`` is
January … December in English; ``S`` any number of digits of a second; ``a`` AM or PM; ``Z`` a zone (``Z``,
``+01:00``, ``+0100``). What is plain ISO 8601 to the day is read as such beside any date format. Counted days and
moments have a word instead: ``unix`` (seconds since 1970), ``unix-ms``, ``unix-us``, ``unix-ns``, ``excel`` (days since
1899-12-30).

A *number format* is an example: ``$1,234.50``, ``1.234,50 €``, ``1 234,5``, ``1,5``, ``12,34,567``, ``1,234.50-``. A
*boolean format* is two words, true first: ``Y/N``.

Each format turns text into the plain form of its type, which every reader knows: ``one`` a text, ``column`` an Arrow
column of them; a test holds the two equal.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from microflow.schema import WHOLE_DATE, Column, Dtype

__all__ = [
    "BooleanFormat", "CountedTime", "Format", "NumberFormat", "TimeFormat", "format_of", "iso_text", "plain_time",
]  # fmt: skip

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_SHORT_MONTHS = "|".join(month.title() for month in _MONTHS)
#: Letters of a date format, longest first; each is a named group of a pattern that means the same to Python and RE2.
_PARTS = {
    "YYYY": "(?P<year>[0-9]{4})", "YY": "(?P<year>[0-9]{2})",
    "MMMM": f"(?P<name>(?i:{_LONG_MONTHS}))", "MMM": f"(?P<name>(?i:{_SHORT_MONTHS}))",
    "MM": "(?P<month>[0-9]{2})", "M": "(?P<month>[0-9]{1,2})",
    "DD": "(?P<day>[0-9]{2})", "D": "(?P<day>[0-9]{1,2})",
    "HH": "(?P<hour>[0-9]{2})", "H": "(?P<hour>[0-9]{1,2})",
    "hh": "(?P<hour>[0-9]{2})", "h": "(?P<hour>[0-9]{1,2})",
    "mm": "(?P<minute>[0-9]{2})", "m": "(?P<minute>[0-9]{1,2})",
    "ss": "(?P<second>[0-9]{2})", "S": "(?P<fraction>[0-9]{1,9})",
    "a": "(?P<half>(?i:AM|PM))", "Z": "(?P<zone>[Zz]|UTC|[+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2})",
}  # fmt: skip
_TOKEN = re.compile("T|" + "|".join(sorted(_PARTS, key=len, reverse=True)) + "|[A-Za-z]+|.", re.DOTALL)
_CLOCK = re.compile(r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?)?")
_DATE = re.compile(r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2}))?)?")
_STAMP = re.compile(
    rf"{_DATE.pattern.removesuffix(')?)?')}(?:[T ]{_CLOCK.pattern}(?: ?{_PARTS['Z']})?)?)?)?"  # the time within the day
)
_PIVOT, _NOON = 68, 12


class Format(ABC):
    """Format of the values of a type."""

    @abstractmethod
    def one(self, text: str) -> str | None:
        """The plain form of a text, or ``None`` where it is not written so."""

    def column(self, texts: pa.Array) -> pa.Array:
        """The plain forms of text, null where one is not written so; each distinct text is read once."""
        encoded = texts.dictionary_encode()
        values = [None if text is None else self.one(text) for text in encoded.dictionary.to_pylist()]
        return pa.array(values, pa.string()).take(encoded.indices)


def format_of(column: Column) -> Format | None:
    """The format of a column, or ``None`` where it is the plain one.

    Raises:
        ValueError: the format cannot be understood, or the type has none.

    >>> format_of(Column("seen", dtype=Dtype.DATE, format="MM/DD/YYYY")).one("03/14/2021")
    '2021-03-14'
    """
    return None if column.format is None else _compiled(column.format, column.dtype)


@lru_cache(maxsize=1_000)
def _compiled(written: str, dtype: Dtype) -> Format:
    if dtype in {Dtype.INTEGER, Dtype.NUMBER}:
        return NumberFormat(written)
    if dtype is Dtype.BOOLEAN:
        return BooleanFormat(written)
    if dtype is Dtype.STRING:
        raise ValueError("a text has no format: give the column a type")
    return CountedTime(written, dtype) if written in _COUNTED else TimeFormat(written, dtype)


@dataclass(frozen=True)
class TimeFormat(Format):
    """A date, a time or both, read to ISO 8601: what the type holds, so a date drops a time that its format names.

    >>> TimeFormat("YYYY-MM-DDTHH:mm:ssZ", Dtype.TIMESTAMP).one("2021-03-14T01:30:00+02:00")
    '2021-03-13T23:30:00Z'
    """

    format: str
    dtype: Dtype

    def __post_init__(self) -> None:
        names = re.findall(r"\\?P<(\w+)>", self._source)
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the format names the {min(doubled)} twice")
        needs = {"hour", "minute"} if self.dtype is Dtype.TIME else {"year"}
        if missing := needs - set(names):
            raise ValueError(f"a {self.dtype} needs the {' and the '.join(sorted(missing))} in its format")
        if "day" in names and not {"month", "name"} & set(names):
            raise ValueError("the format names a day without its month")
        if self.dtype is Dtype.TIMESTAMP and not {"day", "hour", "minute"} <= set(names):
            raise ValueError("a timestamp needs a day, an hour and a minute in its format")
        if bool({"h", "hh"} & set(_TOKEN.findall(self.format))) != ("half" in names):
            raise ValueError("hh (1 to 12) and a (AM or PM) go together")

    @cached_property
    def _source(self) -> str:
        parts = []
        for letters in _TOKEN.findall(self.format):
            if letters in _PARTS:
                parts.append(_PARTS[letters])
            elif (letters.isalpha() and letters != "T") or letters == "%":
                raise ValueError(_unknown_part(letters, self.format))
            else:
                parts.append(re.escape(letters))
        return "".join(parts)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self._source, re.ASCII)

    def one(self, text: str) -> str | None:
        match = self._pattern.fullmatch(text)
        if match is not None:
            return iso_text(match.groupdict(), self.dtype)
        return plain_time(text, self.dtype) if len(text) >= WHOLE_DATE or self.dtype is Dtype.TIME else None


def _unknown_part(letters: str, written: str) -> str:
    """Mistake in a date format, as text; one in the letters of strptime or of Java is translated."""
    meant = _STRPTIME.sub(lambda match: _LETTERS.get(match[1], match[0]), written)
    if meant == written:
        for theirs, ours in (("'", ""), ("uuuu", "YYYY"), ("yyyy", "YYYY"), ("yy", "YY"), ("dd", "DD")):
            meant = meant.replace(theirs, ours)
        meant = meant if ":" in meant else meant.replace("mm", "MM")
    known = f"{letters!r} is no part of a date: known are {', '.join(_PARTS)}, or {', '.join(_COUNTED)}"
    parts = [part for part in _TOKEN.findall(meant) if part.isalpha()]
    is_understood = meant != written and all(part in _PARTS or part == "T" for part in parts)
    return f"{known}; write {meant}" if is_understood else known


_STRPTIME = re.compile("%([A-Za-z])")
_LETTERS = {
    "Y": "YYYY", "y": "YY", "m": "MM", "d": "DD", "b": "MMM", "B": "MMMM", "H": "HH", "I": "hh", "M": "mm", "S": "ss",
    "f": "S", "p": "a", "z": "Z", "F": "YYYY-MM-DD", "T": "HH:mm:ss", "D": "MM/DD/YY",
}  # fmt: skip


@dataclass(frozen=True)
class CountedTime(Format):
    """Days or moments counted from a day on, in UTC; a date drops the time.

    >>> CountedTime("unix-ms", Dtype.TIMESTAMP).one("1615714200500")
    '2021-03-14T09:30:00.5Z'
    """

    unit: str
    dtype: Dtype

    def __post_init__(self) -> None:
        if self.dtype is Dtype.TIME:
            raise ValueError(f"a {self.dtype} cannot be counted in {self.unit!r}")

    def one(self, text: str) -> str | None:
        if _COUNT.fullmatch(text) is None:
            return plain_time(text, self.dtype) if len(text) >= WHOLE_DATE else None
        first, unit, least = _COUNTED[self.unit]
        days, rest = divmod(int((Decimal(text) * unit / least).to_integral_value()) * least, _DAY)
        try:
            day = (first + timedelta(days=days)).isoformat()
        except OverflowError:
            return None
        if self.dtype is Dtype.DATE:
            return day
        seconds, fraction = divmod(rest, 10**9)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        decimals = f".{fraction:09}".rstrip("0").rstrip(".")
        return f"{day}T{clock}{decimals}" + ("" if self.unit == "excel" else "Z")


_COUNT = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{0,15})?", re.ASCII)
_DAY = 86_400 * 10**9
_UNIX = date(1970, 1, 1)
#: The first day; the nanoseconds of a unit, and the finest step in nanoseconds that is kept: a day of a spreadsheet has
#: too few decimals for more than milliseconds.
_COUNTED = {
    "unix": (_UNIX, 10**9, 1), "unix-ms": (_UNIX, 10**6, 1), "unix-us": (_UNIX, 10**3, 1), "unix-ns": (_UNIX, 1, 1),
    "excel": (date(1899, 12, 30), _DAY, 10**6),
}  # fmt: skip


def iso_text(parts: dict[str, str], dtype: Dtype) -> str | None:
    """ISO 8601 of the named parts of a date, time or time stamp; ``None`` where there is no such day or hour.

    >>> iso_text({"year": "2021", "month": "2", "day": "30"}, Dtype.DATE) is None
    True
    """
    clock = _clock(parts) if "hour" in parts else None
    if "hour" in parts and clock is None:
        return None
    if dtype is Dtype.TIME:
        return clock
    day = _day(parts)
    if day is None or clock is None or dtype is Dtype.DATE:
        return day
    zone = parts.get("zone")
    return f"{day}T{clock}" if zone is None else _in_utc(day, clock, zone)


def _clock(parts: dict[str, str]) -> str | None:
    hour, minute, second = int(parts["hour"]), int(parts.get("minute", 0)), int(parts.get("second", 0))
    if "half" in parts:
        if not 1 <= hour <= _NOON:
            return None
        hour = hour % _NOON + _NOON * (parts["half"].upper() == "PM")
    if hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004 - of a day
        return None
    fraction = parts.get("fraction", "").rstrip("0")
    return f"{hour:02}:{minute:02}:{second:02}" + (f".{fraction}" if fraction else "")


def _day(parts: dict[str, str]) -> str | None:
    year = int(parts["year"])
    if len(parts["year"]) == 2:  # noqa: PLR2004 - YY
        year += 2000 if year <= _PIVOT else 1900
    month = _MONTHS.index(parts["name"][:3].lower()) + 1 if "name" in parts else int(parts.get("month", 0))
    try:
        day = date(year, month or 1, int(parts.get("day", 1)))
    except ValueError:
        return None
    return f"{day:%Y-%m-%d}".rjust(10, "0")[: 10 if "day" in parts else 7 if month else 4]


def _in_utc(day: str, clock: str, zone: str) -> str | None:
    whole, _, fraction = clock.partition(".")
    digits = zone[1:].replace(":", "").ljust(4, "0") if zone[0] in "+-" else "0000"
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - of a day
        return None
    ahead = timedelta(hours=hours, minutes=minutes)
    try:
        local = datetime.fromisoformat(f"{day}T{whole}")
        moment = local + ahead if zone[0] == "-" else local - ahead
    except (ValueError, OverflowError):
        return None
    return moment.isoformat(timespec="seconds") + (f".{fraction}" if fraction else "") + "Z"


def plain_time(text: str, dtype: Dtype) -> str | None:
    """ISO 8601 form of a plain date, time or time stamp (``T`` or a blank before the time, seconds optional).

    A time stamp may be a date alone, as a remedy leaves it.

    >>> plain_time("2021-03-14 09:26+01:00", Dtype.TIMESTAMP), plain_time("2021-03", Dtype.TIMESTAMP)
    ('2021-03-14T08:26:00Z', '2021-03')
    """
    pattern = {Dtype.TIME: _CLOCK, Dtype.DATE: _DATE, Dtype.TIMESTAMP: _STAMP}[dtype]
    match = pattern.fullmatch(text)
    if match is None and dtype is Dtype.DATE and (moment := plain_time(text, Dtype.TIMESTAMP)):
        return moment[:WHOLE_DATE]  # a date drops the time that a database writes with it
    return match and iso_text({name: part for name, part in match.groupdict().items() if part}, dtype)


class BooleanFormat(Format):
    """Two words, true first, compared without case.

    >>> BooleanFormat("Y/N").one("n")
    'false'
    """

    def __init__(self, words: str) -> None:
        true, _, false = (word.strip().casefold() for word in words.partition("/"))
        if not true or not false or true == false:
            raise ValueError("the format of a boolean is its two words, true first, such as Y/N")
        self._words = {true: "true", false: "false"}

    def one(self, text: str) -> str | None:
        return self._words.get(text.strip().casefold())


class NumberFormat(Format):
    """Numbers written like an example; currency, grouping and a sign may be absent, brackets mean negative.

    One separator before exactly three digits groups (``1,234``); any other single one is the decimal (``1,5``).

    >>> NumberFormat("$1,234.50").one("($2,000)"), NumberFormat("1.234,50 €").one("-0,5")
    ('-2000', '-0.5')
    """

    def __init__(self, example: str) -> None:
        match = re.fullmatch(r"([^0-9+-]*)[+-]?([0-9][0-9.,' _\u00a0\u202f\u2009’]*)?([^0-9]*)", example.strip())
        if match is None or not match[2]:
            raise ValueError("the format of a number is an example of one, such as $1,234.50 or 1.234,5")
        body = match[2].strip()
        self._prefix, self._suffix = match[1].strip(), match[3].strip()
        # The sign may stand behind the number, as accountants write it.
        last = r"[\-−]?" if self._suffix.endswith(("-", "−")) else ""
        self._suffix = self._suffix.rstrip("-− ")
        separators = [sign for sign in body if not sign.isdigit()]
        self._group, self._decimal = _separators(separators, body)
        sign = r"[+\-−]?"
        digits = "[0-9]+"
        if self._group:
            shapes = next((shapes for shapes in (_BLANKS, _APOSTROPHES) if self._group in shapes), self._group)
            group = f"[{re.escape(shapes)}]"  # in whichever of its shapes
            # In India the last three digits are a group, and those before go in twos.
            pairs = f"(?:{group}[0-9]{{2}})*" if re.search(rf"{group}[0-9]{{2}}{group}", body) else ""
            head, repeated = ("{1,2}", "") if pairs else ("{1,3}", "+")
            digits = f"[0-9]{head}{pairs}(?:{group}[0-9]{{3}}){repeated}|[0-9]+"
        decimals = f"(?:{re.escape(self._decimal)}[0-9]*)?"
        prefix = f"(?:{re.escape(self._prefix)})?" if self._prefix else ""
        suffix = f"(?:{re.escape(self._suffix)})?" if self._suffix else ""
        space = f"[{_BLANKS}]*"
        inner = f"{prefix}{space}{sign}(?:{digits}){decimals}{space}{suffix}{last}"
        self._source = rf"{sign}{space}{inner}|\({inner}\)"
        self._pattern = re.compile(self._source, re.ASCII)

    def one(self, text: str) -> str | None:
        if self._pattern.fullmatch(text) is None or sum(map(text.count, "+-−")) > 1:
            return None
        is_negative = text[0] == "(" or "-" in text or "−" in text
        whole, _, decimals = text.partition(self._decimal)
        kept = [re.sub("[^0-9]", "", part) for part in (whole, decimals)]
        return f"{'-' * is_negative}{kept[0]}{f'.{kept[1]}' if kept[1] else ''}"

    def column(self, texts: pa.Array) -> pa.Array:
        signs = pc.count_substring_regex(texts, "[+\\-−]")
        fits = pc.and_(pc.match_substring_regex(texts, f"^(?:{self._source})$"), pc.less_equal(signs, 1))
        is_negative = pc.match_substring_regex(texts, "^\\(|[\\-−]")
        marked = pc.replace_substring(texts, self._decimal, "~", max_replacements=1)
        digits = pc.replace_substring_regex(marked, "[^0-9~]|~[^0-9]*$", "")
        plain = pc.replace_substring(digits, "~", ".")
        signed = pc.if_else(is_negative, pc.binary_join_element_wise("-", plain, ""), plain)
        return pc.if_else(fits, signed, pa.scalar(None, pa.string()))


_BLANKS = " \u00a0\u202f\u2009"
_APOSTROPHES = "'’"


def _separators(separators: list[str], body: str) -> tuple[str, str]:
    """Signs that group digits, and that come before decimals."""
    if len(set(separators)) > 2:  # noqa: PLR2004 - one of each
        raise ValueError("the format of a number has at most two separators, such as 1,234.50")
    if not separators:
        return "", "."
    last = separators[-1]
    if len(set(separators)) == 2:  # noqa: PLR2004
        if separators.count(last) != 1:
            raise ValueError("the format of a number has one decimal separator, such as 1,234.50")
        return separators[0], last
    if len(separators) == 1 and len(body.rpartition(last)[2]) != 3:  # noqa: PLR2004 - digits of a group
        return "", last
    return last, "," if last == "." else "."
