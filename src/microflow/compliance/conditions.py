"""The closed vocabulary of policies: conditions, each with two forms that agree on every value, and what cures them.

``expression`` gives a Polars expression that is true where the condition holds (null where it cannot be asked);
``predicate`` gives the same as a function of one value that is not null. A missing value satisfies ``missing`` and
nothing else. Whatever depends on today is asked of the policy's *reference date*: no clock is read.
"""

# ruff: noqa: ARG002 - every form has the contract's signature, and few need all of it

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from typing import Any, ClassVar, Protocol, cast

import polars as pl

from microflow.compliance.forms import Forms, national_forms
from microflow.schema import Dtype

__all__ = [
    "REMEDIES", "RESTRICTED_ZIP3", "SEVERITIES", "WORDS", "Above", "Condition", "Contains", "DecimalsAbove", "Expired",
    "FieldCondition", "FinerThanYear", "Missing", "NotOneOf", "OneOf", "Predicate", "Present", "ZipTooFine", "cures",
    "explain",
]  # fmt: skip

SEVERITIES = ("low", "medium", "high", "critical")
#: What can be done about a violation; `microflow.compliance.remedy` does it.
REMEDIES = ("blank", "redact", "mask_card", "zip3", "year", "top_code_90", "two_decimals", "suppress_record")

#: ZIP codes whose first three digits may not be shown, because 20,000 people or fewer live there: 45 CFR
#: 164.514(b)(2)(i)(B) with the Census 2000 ZCTA populations, as listed in the guidance of the Office for Civil Rights
#: (HHS, "Guidance Regarding Methods for De-identification of Protected Health Information", 2012).
RESTRICTED_ZIP3 = frozenset((
    "036", "059", "063", "102", "203", "556", "692", "790", "821", "823", "830", "831", "878", "879",
    "884", "890", "893",
))  # fmt: skip

Predicate = Callable[[Any], bool]

# What a source writes in place of a value it hides; a value made of these only is not there.
_READABLE = "[^*Xx#•._ \t\r\n-]"
_ZIP3 = 3
_YEAR = 4
_EVERY_TYPE = frozenset(Dtype)
_TEXT = frozenset({Dtype.STRING})
_NUMERIC = frozenset({Dtype.INTEGER, Dtype.NUMBER})
_DATE = frozenset({Dtype.DATE, Dtype.TIMESTAMP})
_AS_TEXT = _TEXT | _DATE | {Dtype.TIME}


class FieldCondition(Protocol):
    """Condition on a field as a whole; ``takes`` are the types of columns that it can be asked of."""

    takes: ClassVar[frozenset[Dtype]]

    def expression(self, value: pl.Expr, dtype: Dtype, reference: date) -> pl.Expr:
        """Expression: true where a column of this type breaks the rule; null or false for null (except `Missing`)."""
        ...

    def predicate(self, reference: date) -> Predicate:
        """Condition as a function of one value that is not null (`Missing` is asked about null alone)."""
        ...


@dataclass(frozen=True, slots=True)
class Contains:
    """The text contains an identifier written as in `microflow.compliance.patterns`, or as the policy says.

    Both checks ask the same `microflow.compliance.scanner.TextScanner`, for all patterns of a field at once.
    """

    takes: ClassVar[frozenset[Dtype]] = _TEXT
    pattern: str
    forms: Forms = ()
    """Of a pattern that a policy adds: how it is written, and its checksum; see `microflow.compliance.forms`."""


Condition = FieldCondition | Contains


@dataclass(frozen=True, slots=True)
class Missing:
    """The field is null."""

    takes: ClassVar[frozenset[Dtype]] = _EVERY_TYPE

    def expression(self, value: pl.Expr, dtype: Dtype, reference: date) -> pl.Expr:
        return value.is_null()

    def predicate(self, reference: date) -> Predicate:
        return lambda value: value is None


@dataclass(frozen=True, slots=True)
class Present:
    """The field holds something that can be read: not blank, and not only mask characters (``***-**-****``)."""

    takes: ClassVar[frozenset[Dtype]] = _EVERY_TYPE

    def expression(self, value: pl.Expr, dtype: Dtype, reference: date) -> pl.Expr:
        return (value if dtype in _AS_TEXT else value.cast(pl.String)).str.contains(_READABLE)

    def predicate(self, reference: date) -> Predicate:
        search = re.compile(_READABLE).search
        return lambda value: search(value if isinstance(value, str) else str(value)) is not None


@dataclass(frozen=True, slots=True)
class OneOf:
    """The text is one of these words, whatever its case, its joints and the blanks around it."""

    takes: ClassVar[frozenset[Dtype]] = _TEXT
    words: tuple[str, ...]

    def expression(self, value: pl.Expr, dtype: Dtype, reference: date) -> pl.Expr:
        return value.str.contains(f"^{_any_of(self.words)}$")

    def predicate(self, reference: date) -> Predicate:
        match = re.compile(_any_of(self.words)).fullmatch
        return lambda value: match(value) is not None


@dataclass(frozen=True, slots=True)
class NotOneOf:
    """The text is none of these words, whatever its case, its joints and the blanks around it."""

    takes: ClassVar[frozenset[Dtype]] = _TEXT
    words: tuple[str, ...]

    def expression(self, value: pl.Expr, dtype: Dtype, reference: date) -> pl.Expr:
        return ~OneOf(self.words).expression(value, dtype, reference)

    def predicate(self, reference: date) -> Predicate:
        is_one = OneOf(self.words).predicate(reference)
        return lambda value: not is_one(value)


#: The blanks that both forms take away: ASCII's, no-break space and the wide ones of Unicode's separators.
_BLANKS = r"[ \t\r\n\f\v\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]*"
#: What joins the parts of a word, as in ``opt-in`` and ``legal_obligation``.
_JOINTS = " _-"


def _any_of(words: tuple[str, ...]) -> str:
    """An expression, in the syntax of Python and of Rust alike, for one of these words in any case between blanks.

    Parts of a word may be joined by a blank, a hyphen or an underscore. One search is a third of the time of taking
    blanks away, making small letters and looking up. The cases of a letter are written out, since the two engines do
    not agree on what else is the same without case.
    """
    spelled = ("".join(map(_any_case, word)) for word in words)
    return f"{_BLANKS}(?:{'|'.join(spelled)}){_BLANKS}"


def _any_case(char: str) -> str:
    if char in _JOINTS:
        return f"[{_JOINTS}]"
    cases = sorted(case for case in {char, char.lower(), char.upper()} if len(case) == 1)
    return f"[{''.join(cases)}]" if len(cases) > 1 else char if char.isspace() else re.escape(char)


@dataclass(frozen=True, slots=True)
class Above:
    """The number is greater than the limit; NaN is not."""

    takes: ClassVar[frozenset[Dtype]] = _NUMERIC
    limit: float

    def expression(self, value: pl.Expr, dtype: Dtype, reference: date) -> pl.Expr:
        # A whole limit compares exactly with integers of any size. Polars orders NaN above every number.
        limit = int(self.limit) if self.limit.is_integer() else self.limit
        above = value > limit
        return above if dtype is Dtype.INTEGER else above & value.is_not_nan()

    def predicate(self, reference: date) -> Predicate:
        limit = self.limit
        return lambda value: value > limit


@dataclass(frozen=True, slots=True)
class DecimalsAbove:
    """The number needs more decimals than this to be written (precision of a location); NaN and infinity do not.

    Binary fractions are compared with a tolerance of 1e-6 units of the last decimal allowed, plus what rounding to a
    double may cost.
    """

    takes: ClassVar[frozenset[Dtype]] = _NUMERIC
    decimals: int

    def expression(self, value: pl.Expr, dtype: Dtype, reference: date) -> pl.Expr:
        scaled = value.cast(pl.Float64) * 10.0**self.decimals
        distance = (scaled - scaled.round(mode="half_to_even")).abs()
        return scaled.is_finite() & (distance > scaled.abs() * _ONE_ROUNDING + _TOLERANCE)

    def predicate(self, reference: date) -> Predicate:
        scale = 10.0**self.decimals

        def too_precise(value: float) -> bool:
            scaled = value * scale
            return math.isfinite(scaled) and abs(scaled - round(scaled)) > abs(scaled) * _ONE_ROUNDING + _TOLERANCE

        return too_precise


_TOLERANCE, _ONE_ROUNDING = 1e-6, 1e-15


@dataclass(frozen=True, slots=True)
class FinerThanYear:
    """The date says more than its year: 45 CFR 164.514(b)(2)(i)(C)."""

    takes: ClassVar[frozenset[Dtype]] = _DATE

    def expression(self, value: pl.Expr, dtype: Dtype, reference: date) -> pl.Expr:
        return value.str.len_bytes() > _YEAR

    def predicate(self, reference: date) -> Predicate:
        return lambda value: len(value.encode()) > _YEAR


@dataclass(frozen=True, slots=True)
class ZipTooFine:
    """More than three digits of a ZIP code, or three of a sparsely populated area: 45 CFR 164.514(b)(2)(i)(B)."""

    takes: ClassVar[frozenset[Dtype]] = _TEXT

    def expression(self, value: pl.Expr, dtype: Dtype, reference: date) -> pl.Expr:
        return (value.str.len_bytes() > _ZIP3) | value.is_in(sorted(RESTRICTED_ZIP3))

    def predicate(self, reference: date) -> Predicate:
        return lambda value: len(value.encode()) > _ZIP3 or value in RESTRICTED_ZIP3


@dataclass(frozen=True, slots=True)
class Expired:
    """The date lies before the reference date, less ``days``; a year or a month alone lasts to its end."""

    takes: ClassVar[frozenset[Dtype]] = _DATE
    days: int = 0

    def expression(self, value: pl.Expr, dtype: Dtype, reference: date) -> pl.Expr:
        limit, month, year = self._limits(reference)
        if limit.endswith("-01-01"):
            return value < year  # all that is written shorter than a day is then past, or not
        return (value < limit) & (value != month) & (value != year)

    def predicate(self, reference: date) -> Predicate:
        limit, month, year = self._limits(reference)
        return lambda value: value < limit and value not in (month, year)

    def _limits(self, reference: date) -> tuple[str, str, str]:
        """The last day that is not expired, and its month and year (text order of ISO 8601 is date order)."""
        day = (reference - timedelta(days=self.days)).isoformat()
        return day, day[:7], day[:4]


#: Each word that a policy may use, and the condition that it makes of its argument.
WORDS: dict[str, Callable[[Any], Condition]] = {
    "missing": lambda _: Missing(),
    "present": lambda _: Present(),
    "contains": Contains,
    "national_id": lambda model: Contains(f"national_id_{model.country.lower()}", national_forms(model.country)),
    "one_of": lambda words: OneOf(tuple(words)),
    "not_one_of": lambda words: NotOneOf(tuple(words)),
    "above": lambda limit: Above(float(limit)),
    "decimals_above": DecimalsAbove,
    "finer_than_year": lambda _: FinerThanYear(),
    "zip_too_fine": lambda _: ZipTooFine(),
    "expired": lambda _: Expired(),
    "older_than_days": Expired,
}
_WORD_OF: dict[type, str] = {
    Missing: "missing", Present: "present", Contains: "contains", OneOf: "one_of", NotOneOf: "not_one_of",
    Above: "above", DecimalsAbove: "decimals_above", FinerThanYear: "finer_than_year", ZipTooFine: "zip_too_fine",
    Expired: "older_than_days",
}  # fmt: skip


def explain(condition: Condition) -> str:
    """The condition as a policy writes it.

    >>> explain(OneOf(("withdrawn", "revoked"))), explain(Above(90.0)), explain(Expired())
    ('one_of withdrawn, revoked', 'above 90', 'expired')
    """
    if condition == Expired():
        return "expired"
    # How an own pattern is written is said where it is defined.
    arguments = (condition.pattern,) if isinstance(condition, Contains) else astuple(cast("Any", condition))
    written = (", ".join(a) if isinstance(a, tuple) else f"{a}".removesuffix(".0") for a in arguments)
    return " ".join([_WORD_OF[type(condition)], *written])


def cures(condition: Condition) -> tuple[str, ...]:
    """The remedies after which the condition no longer holds, so that nothing is found twice.

    >>> cures(Above(90.0))
    ('suppress_record', 'blank', 'top_code_90')
    """
    own: tuple[str, ...] = ()
    match condition:
        case Missing():
            return ("suppress_record",)
        case Contains(pattern=pattern):
            own = ("redact", "mask_card") if pattern == "card" else ("redact",)
        case Above(limit) if limit >= 90:  # noqa: PLR2004 - what the remedy's name says
            own = ("top_code_90",)
        case DecimalsAbove(decimals) if decimals >= 2:  # noqa: PLR2004
            own = ("two_decimals",)
        case FinerThanYear():
            own = ("year",)
        case ZipTooFine():
            own = ("zip3",)
        case _:
            pass
    return ("suppress_record", "blank", *own)
