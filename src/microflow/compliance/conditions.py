"""The closed vocabulary of conditions: each is written once and has two forms that agree on every value.

``expression`` gives a Polars expression that is true where the condition holds; ``predicate`` gives the same as a
function of one value. A missing value (null) satisfies ``missing`` and nothing else. Whatever depends on today is asked of the
policy's *reference date*: no clock is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Protocol

import polars as pl

from microflow.compliance.patterns import PATTERNS, rust
from microflow.compliance.restricted_zip import RESTRICTED_ZIP3

__all__ = ["CONDITIONS", "Condition", "Contains", "parse_condition"]

Predicate = Callable[[Any], bool]

# What a source writes in place of a value it hides; a value made of these only is not there.
_READABLE = r"[^*Xx#\x{2022}._ \t\r\n-]"
_ZIP_DIGITS = 3
_YEAR_LENGTH = 4


class Condition(Protocol):
    """When a field breaks a rule."""

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:
        """True where the column breaks the rule; null where the value is null and null does not."""
        ...

    def predicate(self, reference: date) -> Predicate:
        """The same for one value that is not null (`Missing` is asked about null alone)."""
        ...


@dataclass(frozen=True, slots=True)
class Missing:
    """The field is null."""

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:  # noqa: ARG002 - the contract's signature
        return value.is_null()

    def predicate(self, reference: date) -> Predicate:  # noqa: ARG002 - the contract's signature
        return lambda value: value is None


@dataclass(frozen=True, slots=True)
class Present:
    """The field holds something that can be read: not blank, and not only mask characters (``***-**-****``)."""

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:  # noqa: ARG002 - the contract's signature
        return value.cast(pl.String).str.contains(_READABLE)

    def predicate(self, reference: date) -> Predicate:  # noqa: ARG002 - the contract's signature
        search = re.compile(_READABLE.replace(r"\x{2022}", "\u2022")).search
        return lambda value: search(value if isinstance(value, str) else str(value)) is not None


@dataclass(frozen=True, slots=True)
class Contains:
    """The text contains an identifier of this pattern; the checkers look for all patterns of a field at once."""

    pattern: str

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:  # noqa: ARG002 - the contract's signature
        """Where it may contain one: the validator still has to agree."""
        return value.str.contains(rust(PATTERNS[self.pattern].expression))

    def predicate(self, reference: date) -> Predicate:  # noqa: ARG002 - the contract's signature
        pattern = PATTERNS[self.pattern]
        matches = re.compile(pattern.expression, re.ASCII).finditer
        return lambda value: any(pattern.is_valid(match[0]) for match in matches(value))


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field is one of these words, exactly."""

    words: tuple[str, ...]

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:  # noqa: ARG002 - the contract's signature
        return value.is_in(list(self.words))

    def predicate(self, reference: date) -> Predicate:  # noqa: ARG002 - the contract's signature
        return frozenset(self.words).__contains__


@dataclass(frozen=True, slots=True)
class NotOneOf:
    """The field is none of these words (and not null)."""

    words: tuple[str, ...]

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:  # noqa: ARG002 - the contract's signature
        return ~value.is_in(list(self.words))

    def predicate(self, reference: date) -> Predicate:  # noqa: ARG002 - the contract's signature
        words = frozenset(self.words)
        return lambda value: value not in words


@dataclass(frozen=True, slots=True)
class Above:
    """The number is greater than the limit; NaN is not."""

    limit: float

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:  # noqa: ARG002 - the contract's signature
        # Polars orders NaN above every number; IEEE 754 and Python do not.
        return (value > self.limit) & ~value.cast(pl.Float64).is_nan()

    def predicate(self, reference: date) -> Predicate:  # noqa: ARG002 - the contract's signature
        limit = self.limit
        return lambda value: value > limit


@dataclass(frozen=True, slots=True)
class DecimalsAbove:
    """The number needs more decimals than this to be written (location precision); NaN and infinity do not."""

    decimals: int

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:  # noqa: ARG002 - the contract's signature
        scaled = value.cast(pl.Float64) * 10.0**self.decimals
        return scaled.is_finite() & ((scaled - scaled.round(mode="half_to_even")).abs() > _ROUNDING)

    def predicate(self, reference: date) -> Predicate:  # noqa: ARG002 - the contract's signature
        scale = 10.0**self.decimals

        def too_precise(value: float) -> bool:
            scaled = value * scale
            return math.isfinite(scaled) and abs(scaled - round(scaled)) > _ROUNDING

        return too_precise


@dataclass(frozen=True, slots=True)
class FinerThanYear:
    """The date says more than its year: 45 CFR 164.514(b)(2)(i)(C)."""

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:  # noqa: ARG002 - the contract's signature
        return value.str.len_chars() > _YEAR_LENGTH

    def predicate(self, reference: date) -> Predicate:  # noqa: ARG002 - the contract's signature
        return lambda value: len(value) > _YEAR_LENGTH


@dataclass(frozen=True, slots=True)
class ZipTooFine:
    """More than three digits of a ZIP code, or three of a sparsely populated area: 45 CFR 164.514(b)(2)(i)(B)."""

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:  # noqa: ARG002 - the contract's signature
        return (value.str.len_chars() > _ZIP_DIGITS) | value.is_in(sorted(RESTRICTED_ZIP3))

    def predicate(self, reference: date) -> Predicate:  # noqa: ARG002 - the contract's signature
        return lambda value: len(value) > _ZIP_DIGITS or value in RESTRICTED_ZIP3


@dataclass(frozen=True, slots=True)
class Expired:
    """The date lies before the reference date, less ``days``. A year or month alone counts from its first day."""

    days: int = 0

    def expression(self, value: pl.Expr, reference: date) -> pl.Expr:
        limit = self._limit(reference)
        return (value < limit) & ~pl.lit(limit).str.starts_with(value)

    def predicate(self, reference: date) -> Predicate:
        limit = self._limit(reference)
        return lambda value: value < limit and not limit.startswith(value)

    def _limit(self, reference: date) -> str:
        return (reference - timedelta(days=self.days)).isoformat()


#: Distance, in units of the last decimal allowed, below which a binary fraction counts as exactly written.
_ROUNDING = 1e-6

#: The word in a policy, what its argument must be, and what it makes.
CONDITIONS: dict[str, tuple[str, Callable[[Any], Condition | None]]] = {
    "missing": ("true", lambda word: Missing() if word is True else None),
    "present": ("true", lambda word: Present() if word is True else None),
    "contains": (
        f"one of {', '.join(PATTERNS)}",
        lambda word: Contains(word) if isinstance(word, str) and word in PATTERNS else None,
    ),
    "one_of": ("a list of words", lambda words: OneOf(tuple(words)) if _are_words(words) else None),
    "not_one_of": ("a list of words", lambda words: NotOneOf(tuple(words)) if _are_words(words) else None),
    "above": ("a number", lambda limit: Above(float(limit)) if _is_number(limit) else None),
    "decimals_above": ("a whole number", lambda n: DecimalsAbove(n) if type(n) is int and n >= 0 else None),
    "finer_than_year": ("true", lambda word: FinerThanYear() if word is True else None),
    "zip_too_fine": ("true", lambda word: ZipTooFine() if word is True else None),
    "expired": ("true", lambda word: Expired() if word is True else None),
    "older_than_days": ("a whole number", lambda days: Expired(days) if type(days) is int and days >= 0 else None),
}


def parse_condition(word: str, argument: object) -> Condition | str:
    """The condition, or a sentence that says what the argument must be."""
    wanted, make = CONDITIONS[word]
    return make(argument) or f"{word!r} takes {wanted}"


def _are_words(words: object) -> bool:
    return isinstance(words, list) and bool(words) and all(isinstance(word, str) for word in words)


def _is_number(limit: object) -> bool:
    return isinstance(limit, int | float) and not isinstance(limit, bool)
