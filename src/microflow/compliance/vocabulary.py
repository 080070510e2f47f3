"""The words a policy may use, and what each takes: the one list that reading, explaining and errors share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

from microflow.compliance.conditions import (
    Above,
    Condition,
    Contains,
    DecimalsAbove,
    Expired,
    FinerThanYear,
    Missing,
    NotOneOf,
    OneOf,
    Present,
    ZipTooFine,
)
from microflow.compliance.patterns import PATTERN_NAMES

__all__ = ["REMEDIES", "SEVERITIES", "WORDS", "Word", "cures", "explain"]

SEVERITIES = ("low", "medium", "high", "critical")
#: What can be done about a violation; `microflow.compliance.remedy` does it.
REMEDIES = ("blank", "redact", "mask_card", "zip3", "year", "top_code_90", "two_decimals", "suppress_record")

_TOP_CODE = 90
_TWO_DECIMALS = 2


@dataclass(frozen=True, slots=True)
class Word:
    """What a condition's argument is, in words, and the condition it makes."""

    takes: str
    make: Callable[[Any], Condition]


WORDS = {
    "missing": Word("true", lambda _: Missing()),
    "present": Word("true", lambda _: Present()),
    "contains": Word(f"one of {', '.join(PATTERN_NAMES)}", Contains),
    "one_of": Word("a list of words", lambda words: OneOf(tuple(words))),
    "not_one_of": Word("a list of words", lambda words: NotOneOf(tuple(words))),
    "above": Word("a number", lambda limit: Above(float(limit))),
    "decimals_above": Word("a number of decimals, 0 to 9", DecimalsAbove),
    "finer_than_year": Word("true", lambda _: FinerThanYear()),
    "zip_too_fine": Word("true", lambda _: ZipTooFine()),
    "expired": Word("true", lambda _: Expired()),
    "older_than_days": Word("a number of days", Expired),
}


def explain(condition: Condition) -> str:
    """The condition as a policy writes it.

    >>> explain(OneOf(("withdrawn", "revoked"))), explain(Above(90.0)), explain(Expired())
    ('one_of withdrawn, revoked', 'above 90', 'expired')
    """
    if condition == Expired():
        return "expired"
    word = _WORD_OF[type(condition)]
    arguments = astuple(condition)  # type: ignore[arg-type]  # all are dataclasses
    return " ".join([word, *(", ".join(a) if isinstance(a, tuple) else f"{a}".removesuffix(".0") for a in arguments)])


_WORD_OF: dict[type, str] = {
    Missing: "missing",
    Present: "present",
    Contains: "contains",
    OneOf: "one_of",
    NotOneOf: "not_one_of",
    Above: "above",
    DecimalsAbove: "decimals_above",
    FinerThanYear: "finer_than_year",
    ZipTooFine: "zip_too_fine",
    Expired: "older_than_days",
}


def cures(condition: Condition) -> tuple[str, ...]:
    """The remedies after which the condition no longer holds, so that nothing is found twice.

    >>> cures(Above(90.0))
    ('suppress_record', 'blank', 'top_code_90')
    """
    if isinstance(condition, Missing):
        return ("suppress_record",)
    return ("suppress_record", "blank", *_specific(condition))


def _specific(condition: Condition) -> tuple[str, ...]:
    match condition:
        case Contains(pattern):
            return ("redact", "mask_card") if pattern == "card" else ("redact",)
        case Above(limit) if limit >= _TOP_CODE:
            return ("top_code_90",)
        case DecimalsAbove(decimals) if decimals >= _TWO_DECIMALS:
            return ("two_decimals",)
        case FinerThanYear():
            return ("year",)
        case ZipTooFine():
            return ("zip3",)
        case _:
            return ()
