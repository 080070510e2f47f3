r"""What an identifier looks like inside text: one definition for both compiled checks.

Each pattern is a regular expression in the part of the language that Rust's ``regex`` (Polars) and Python's ``re``
agree on, with ``\b`` and digit classes meant in ASCII, and a validator that removes look-alikes (an order number is no
card: Luhn, ISO/IEC 7812-1; an SSN has no area 000, 666 or 9xx: SSA rules since 2011). The regular expression alone
decides which rows are looked at; the validator decides what is found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from ipaddress import ip_address

__all__ = ["MAY_IDENTIFY", "PATTERNS", "Pattern", "TextScanner", "rust"]

# A domain label or a mailbox: anything but separators, so that internationalised names count (RFC 6531).
_LABEL = r"""[^\x00-\x20@.<>,;:!?*"'()\[\]/\\|{}]+"""
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
#: True of every text in which any pattern matches, and of few others: a cheap first look.
MAY_IDENTIFY = r"[0-9][ .-]?[0-9]|@|://|www\.|[0-9A-Fa-f]:[0-9A-Fa-f:]"

_CARD_DIGITS = range(13, 20)
_ISO_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Pattern:
    """A name, an expression, and whether a match of it is really one."""

    name: str
    expression: str
    is_valid: Callable[[str], bool]


def rust(expression: str) -> str:
    r"""The expression for Polars: ``\b`` is a Unicode boundary there and must be told not to be."""
    return expression.replace(r"\b", r"(?-u:\b)")


class TextScanner:
    """Finds the spans of several patterns in one text; where two overlap, the earlier pattern of `PATTERNS` wins."""

    def __init__(self, names: Iterable[str]) -> None:
        wanted = set(names)
        self.patterns = tuple(pattern for pattern in PATTERNS.values() if pattern.name in wanted)
        self.union = "|".join(f"(?:{pattern.expression})" for pattern in self.patterns)
        self._may_identify = re.compile(MAY_IDENTIFY, re.ASCII).search
        self._compiled = [(p.name, re.compile(p.expression, re.ASCII).finditer, p.is_valid) for p in self.patterns]

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        """Pattern name, start and end (code points) of every finding, by start."""
        if self._may_identify(text) is None:
            return []
        found: list[tuple[str, int, int]] = []
        for name, matches, is_valid in self._compiled:
            for match in matches(text):
                start, end = match.span()
                if is_valid(match[0]) and all(end <= s or start >= e for _, s, e in found):
                    found.append((name, start, end))
        return sorted(found, key=lambda span: span[1])


def _always(_: str) -> bool:
    return True


def _is_card(text: str) -> bool:
    digits = [ord(char) - 48 for char in text if char not in " -"]
    if len(digits) not in _CARD_DIGITS or digits[0] not in {2, 3, 4, 5, 6}:
        return False
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[-2::-2])  # noqa: PLR2004 - Luhn's rule
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_ssn(text: str) -> bool:
    area, group, serial = text[:3], text[4:6], text[7:]
    return area not in {"000", "666"} and area[0] != "9" and group != "00" and serial != "0000"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_date(text: str) -> bool:
    if not text[0:4].isdecimal() or len(text) != _ISO_LENGTH:
        return True
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_iban(text: str) -> bool:
    """ISO 13616: rotate four characters, letters count from ten, the remainder modulo 97 is one."""
    compact = text.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


#: In order of precedence.
PATTERNS = {
    pattern.name: pattern
    for pattern in (
        Pattern("url", r'\bhttps?://[^\x00-\x20<>"]+|\bwww\.[^\x00-\x20<>"]+', _always),
        Pattern("email", rf"{_LABEL}(?:\.{_LABEL})*@(?:{_LABEL}\.)+{_LABEL}", _always),
        Pattern("card", r"\b[0-9](?:[ -]?[0-9]){12,18}\b", _is_card),
        Pattern("ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b|\b[0-9]{3} [0-9]{2} [0-9]{4}\b", _is_ssn),
        Pattern("mrn", r"\b[Mm][Rr][Nn][:# -]{0,3}[0-9]{6,10}\b", _always),
        Pattern(
            "ip",
            r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"
            r"|\b(?:[0-9A-Fa-f]{1,4}:){2,7}:?[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6}\b",
            _is_address,
        ),
        Pattern("iban", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b", _is_iban),
        Pattern(
            "phone",
            r"(?:\+1[-. ]|\b1[-. ])?(?:\([0-9]{3}\) ?|\b[0-9]{3}[-. ])[0-9]{3}[-. ][0-9]{4}\b"
            r"|\+[1-9][0-9]{0,2}(?:[ -][0-9]{2,4}){2,4}\b",
            _always,
        ),
        Pattern(
            "date",
            r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b|\b[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}\b"
            rf"|\b[0-9]{{1,2}} {_MONTH} [0-9]{{4}}\b",
            _is_date,
        ),
    )
}
