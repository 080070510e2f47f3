"""The closed vocabulary of policies: conditions, each with two forms that agree on every value, and what cures them.

Each word is a function of its argument that gives both forms: an expression, which is true where a column breaks the
rule (null or false where it cannot be asked), and a predicate of one value that is not null. A missing value satisfies
``missing`` and nothing else. Whatever depends on today is asked of the policy's *reference date*: no clock is read.
"""

# ruff: noqa: ARG001 - every word has the same signature, and few need all of it

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, ClassVar, NamedTuple

import polars as pl

from microflow.compliance.forms import Forms
from microflow.schema import Dtype

__all__ = [
    "READABLE", "REMEDIES", "RESTRICTED_ZIP3", "SEVERITIES", "BothForms", "Condition", "Contains", "FieldCondition",
    "Predicate", "cures", "explain",
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


class BothForms(NamedTuple):
    """One condition as an expression over a column, and as a predicate of one value that is not null."""

    expression: Callable[[pl.Expr], pl.Expr]
    predicate: Predicate


@dataclass(frozen=True, slots=True)
class FieldCondition:
    """Condition on a field as a whole: a word of the vocabulary, and its argument where it takes one.

    >>> before_2026 = FieldCondition("expired").forms(date(2026, 1, 1)).predicate
    >>> before_2026("2025-12-31"), before_2026("2026")
    (True, False)
    """

    word: str
    argument: Any = None

    @property
    def takes(self) -> frozenset[Dtype]:
        """The types of columns that it can be asked of."""
        return _WORDS[self.word][0]

    def forms(self, reference: date, dtype: Dtype = Dtype.STRING) -> BothForms:
        """Both forms as of the reference date; the expression is for a column of this type."""
        return _WORDS[self.word][1](self.argument, reference, dtype)


@dataclass(frozen=True, slots=True)
class Contains:
    """The text contains an identifier written as in `microflow.compliance.patterns`, or as the policy says.

    Both checks ask the same `microflow.compliance.scanner.TextScanner`, for all patterns of a field at once.
    """

    takes: ClassVar[frozenset[Dtype]] = frozenset({Dtype.STRING})
    pattern: str
    forms: Forms = ()
    """Of a pattern that a policy adds: how it is written, and its checksum; see `microflow.compliance.forms`."""


Condition = FieldCondition | Contains


def _missing(_: None, reference: date, dtype: Dtype) -> BothForms:
    """The field is null: the predicate is asked about null alone."""
    return BothForms(lambda column: column.is_null(), lambda value: value is None)


#: All but what a source writes in place of a value it hides; a value made of these only is not there.
READABLE = "[^*Xx#•._ \t\r\n-]"


def _present(_: None, reference: date, dtype: Dtype) -> BothForms:
    """The field holds something that can be read: not blank, and not only mask characters (``***-**-****``)."""
    search = re.compile(READABLE).search
    return BothForms(
        lambda column: (column if dtype in _AS_TEXT else column.cast(pl.String)).str.contains(READABLE),
        lambda value: search(value if isinstance(value, str) else str(value)) is not None,
    )


def _one_of(words: tuple[str, ...], reference: date, dtype: Dtype) -> BothForms:
    """The text is one of these words, whatever its case, its joints and the blanks around it."""
    spelled = _any_of(words)
    match, as_written = re.compile(spelled).fullmatch, frozenset(words)
    return BothForms(
        lambda column: column.str.contains(f"^{spelled}$"),
        lambda value: value in as_written or match(value) is not None,
    )


def _not_one_of(words: tuple[str, ...], reference: date, dtype: Dtype) -> BothForms:
    """The text is none of these words."""
    are, is_one = _one_of(words, reference, dtype)
    return BothForms(lambda column: ~are(column), lambda value: not is_one(value))


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


def _above(limit: float, reference: date, dtype: Dtype) -> BothForms:
    """The number is greater than the limit; NaN is not."""
    # A whole limit compares exactly with integers of any size.
    exact = int(limit) if float(limit).is_integer() else limit

    def above(column: pl.Expr) -> pl.Expr:
        # Polars orders NaN above every number.
        return column > exact if dtype is Dtype.INTEGER else (column > exact) & column.is_not_nan()

    return BothForms(above, lambda value: value > limit)


_TOLERANCE, _ONE_ROUNDING = 1e-6, 1e-15


def _decimals_above(decimals: int, reference: date, dtype: Dtype) -> BothForms:
    """The number needs more decimals than this to be written (precision of a location); NaN and infinity do not.

    Binary fractions are compared with a tolerance of 1e-6 units of the last decimal allowed, plus what rounding to a
    double may cost.
    """
    scale = 10.0**decimals

    def are_too_precise(column: pl.Expr) -> pl.Expr:
        scaled = column.cast(pl.Float64) * scale
        distance = (scaled - scaled.round(mode="half_to_even")).abs()
        return scaled.is_finite() & (distance > scaled.abs() * _ONE_ROUNDING + _TOLERANCE)

    def is_too_precise(value: float) -> bool:
        scaled = value * scale
        return math.isfinite(scaled) and abs(scaled - round(scaled)) > abs(scaled) * _ONE_ROUNDING + _TOLERANCE

    return BothForms(are_too_precise, is_too_precise)


_ZIP3, _YEAR = 3, 4


def _finer_than_year(_: None, reference: date, dtype: Dtype) -> BothForms:
    """The date says more than its year: 45 CFR 164.514(b)(2)(i)(C)."""
    return BothForms(lambda dates: dates.str.len_bytes() > _YEAR, lambda value: len(value.encode()) > _YEAR)


def _zip_too_fine(_: None, reference: date, dtype: Dtype) -> BothForms:
    """More than three digits of a ZIP code, or three of a sparsely populated area: 45 CFR 164.514(b)(2)(i)(B)."""
    return BothForms(
        lambda codes: (codes.str.len_bytes() > _ZIP3) | codes.is_in(sorted(RESTRICTED_ZIP3)),
        lambda value: len(value.encode()) > _ZIP3 or value in RESTRICTED_ZIP3,
    )


def _expired(days: int | None, reference: date, dtype: Dtype) -> BothForms:
    """The date lies before the reference date, less ``days``; a year or a month alone lasts to its end."""
    # The first day that is not expired; text order of ISO 8601 is date order.
    limit = (reference - timedelta(days=days or 0)).isoformat()
    month, year = limit[:7], limit[:4]

    def are_expired(dates: pl.Expr) -> pl.Expr:
        if limit.endswith("-01-01"):
            return dates < year  # all that is written shorter than a day is then past, or not
        return (dates < limit) & (dates != month) & (dates != year)

    return BothForms(are_expired, lambda value: value < limit and value not in (month, year))


_TEXT, _NUMERIC = frozenset({Dtype.STRING}), frozenset({Dtype.INTEGER, Dtype.NUMBER})
_DATE = frozenset({Dtype.DATE, Dtype.TIMESTAMP})
_AS_TEXT = _TEXT | _DATE | {Dtype.TIME}
#: Each word about a field as a whole: the types of columns that it can be asked of, and its two forms.
_WORDS: dict[str, tuple[frozenset[Dtype], Callable[[Any, date, Dtype], BothForms]]] = {
    "missing": (frozenset(Dtype), _missing),
    "present": (frozenset(Dtype), _present),
    "one_of": (_TEXT, _one_of),
    "not_one_of": (_TEXT, _not_one_of),
    "above": (_NUMERIC, _above),
    "decimals_above": (_NUMERIC, _decimals_above),
    "finer_than_year": (_DATE, _finer_than_year),
    "zip_too_fine": (_TEXT, _zip_too_fine),
    "expired": (_DATE, _expired),
    "older_than_days": (_DATE, _expired),
}


def explain(condition: Condition) -> str:
    """The condition as a policy writes it.

    >>> explain(FieldCondition("one_of", ("withdrawn", "revoked"))), explain(FieldCondition("above", 90.0))
    ('one_of withdrawn, revoked', 'above 90')
    """
    if isinstance(condition, Contains):  # how an own pattern is written is said where it is defined
        return f"contains {condition.pattern}"
    argument = condition.argument
    written = ", ".join(argument) if isinstance(argument, tuple) else f"{argument}".removesuffix(".0")
    return condition.word if argument is None else f"{condition.word} {written}"


def cures(condition: Condition) -> tuple[str, ...]:
    """The remedies after which the condition no longer holds, so that nothing is found twice.

    >>> cures(FieldCondition("above", 90.0))
    ('suppress_record', 'blank', 'top_code_90')
    """
    own: tuple[str, ...] = ()
    match condition:
        case FieldCondition("missing"):
            return ("suppress_record",)
        case Contains("card"):
            own = ("redact", "mask_card")
        case Contains():
            own = ("redact",)
        case FieldCondition("above", limit) if limit >= 90:  # noqa: PLR2004 - what the remedy's name says
            own = ("top_code_90",)
        case FieldCondition("decimals_above", decimals) if decimals >= 2:  # noqa: PLR2004
            own = ("two_decimals",)
        case FieldCondition("finer_than_year"):
            own = ("year",)
        case FieldCondition("zip_too_fine"):
            own = ("zip3",)
        case _:
            pass
    return ("suppress_record", "blank", *own)
