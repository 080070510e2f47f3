r"""What an identifier looks like inside text: one table that both compiled checks search with.

An expression is written in the part of the language that Rust's ``regex`` (Polars) and Python's ``re`` agree on, with
``\b`` and digits meant in ASCII. It proposes; a measure decides how much of a proposal is an identifier, so that
look-alikes fall away (an order number is no card: Luhn, ISO/IEC 7812-1; an SSN has no area 000, 666 or 9xx: SSA, 2011).
Digits of other scripts and identifiers without any separator or mark (nine digits in a row) are not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from microflow.compliance import measures

__all__ = ["PATTERNS", "PATTERN_NAMES", "Pattern", "rust"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way of writing one identifier.

    ``measure`` gets a match and returns how many code points of it, from its start, are the identifier: 0 for none.
    ``marks`` are literals of which every match contains one; without marks it contains a digit. ``sketch`` is true of
    every text that the expression is true of and cheaper for Polars; without one the expression itself is used.
    """

    name: str
    expression: str
    measure: Callable[[re.Match[str]], int] = measures.whole
    marks: tuple[str, ...] = ()
    sketch: str = ""

    @property
    def rust(self) -> str:
        """What Polars looks for to see which texts deserve a closer look."""
        return rust(self.sketch or self.expression)


def rust(expression: str) -> str:
    r"""The expression for Polars: ``\b`` is a Unicode boundary there and must be told not to be."""
    return expression.replace(r"\b", r"(?-u:\b)")


# A mailbox or a domain label: anything but separators, so that internationalised names count (RFC 6531).
_NOT_IN_NAME = r"""\x00-\x20\x7f-\xa0@<>,;:!?*="'()\[\]/\\|{}\u00ab\u00bb\u2000-\u206f\u3000-\u3003"""
_MAILBOX, _LABEL = f"[^{_NOT_IN_NAME}]", f"[^.{_NOT_IN_NAME}]"
_URL_REST = r"""[^\x00-\x20<>"]*[^\x00-\x20<>"'.,;:!?()\[\]]"""
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_HEX4 = "[0-9A-Fa-f]{0,4}"

#: In order of precedence: where two begin at the same place, the earlier wins; otherwise the one further left does.
PATTERNS = (
    Pattern(
        "url",
        rf"\b(?:[Hh][Tt][Tt][Pp][Ss]?|[Ff][Tt][Pp])://{_URL_REST}|\b(?:www|WWW)\.{_URL_REST}",
        marks=("://", "www.", "WWW."),
    ),
    # The mailbox is at most 64 long (RFC 5321), which also keeps the search linear.
    Pattern(
        "email",
        rf"{_MAILBOX}{{1,64}}@(?:{_LABEL}+\.)+{_LABEL}+",
        measures.email,
        marks=("@",),
        sketch=rf"{_MAILBOX}@{_LABEL}+\.{_LABEL}",
    ),
    Pattern("iban", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}", measures.iban),
    Pattern(
        "card",
        r"\b(?:[0-9]{13,19}|[0-9]{4}(?:[ .-][0-9]{4}){2,3}(?:[ .-][0-9]{1,3})?|[0-9]{4}[ .-][0-9]{6}[ .-][0-9]{4,5})\b",
        measures.card,
    ),
    Pattern("ssn", r"\b(?:[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{3} [0-9]{2} [0-9]{4})\b", measures.ssn),
    Pattern("mrn", r"\b[Mm][Rr][Nn][:# -]{0,3}[0-9]{6,10}\b"),
    Pattern("ip", r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b", measures.ipv4),
    Pattern("ip", rf"{_HEX4}(?::{_HEX4}){{2,7}}", measures.ipv6, marks=(":",), sketch=rf":{_HEX4}:"),
    Pattern(
        "phone",
        r"(?:\+1[ .-]?|\b1[ .-])?(?:\([0-9]{3}\) ?|\b[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}\b"
        r"|\+[1-9][0-9]{0,2}(?:[ .-]\(?[0-9]{1,4}\)?){2,5}\b|\+[1-9][0-9]{7,14}\b",
        measures.phone,
    ),
    Pattern("date", r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]|\b)", measures.iso_date),
    Pattern(
        "date",
        r"\b[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}\b"
        rf"|\b[0-9]{{1,2}} {_MONTH} [0-9]{{4}}\b|\b{_MONTH} [0-9]{{1,2}},? [0-9]{{4}}\b",
        measures.written_date,
    ),
)
#: What a policy's ``contains`` may name.
PATTERN_NAMES = tuple(dict.fromkeys(pattern.name for pattern in PATTERNS))
