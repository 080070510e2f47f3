r"""What an identifier looks like inside text, for the scanner that both compiled checks share.

An expression proposes; a measure decides how much of a proposal is an identifier, so that look-alikes fall away (an
order number is no card: Luhn, ISO/IEC 7812-1; an SSN has no area 000, 666 or 9xx: SSA, 2011). Digits and boundaries are
ASCII (``re.ASCII``). Digits of other scripts, and numbers without any separator or mark (an SSN as nine digits in a
row), are not looked for. No pattern crosses a line, and each takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from microflow.compliance import measures

__all__ = ["LEAD", "PATTERNS", "PATTERN_NAMES", "Pattern"]

#: A pattern that holds a digit begins at most so many code points before it (``September 4, 2021``).
LEAD = 12


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way of writing one identifier.

    Attributes:
        name: What is found, as a policy names it.
        expression: Proposes it.
        measure: How many code points of a match, from its start, are the identifier: 0 for none.
        first: The class of characters that it begins with; empty for any.
        at_word: It begins where a word does.
        mark: A literal that it holds; one without a mark holds a digit.
    """

    name: str
    expression: str
    measure: Callable[[re.Match[str]], int] = measures.whole
    first: str = "0-9"
    at_word: bool = True
    mark: str = ""


# A mailbox or a domain label: anything but separators, so that internationalised names count (RFC 6531).
_NOT_IN_NAME = r"""\x00-\x20\x7f-\xa0@<>,;:!?*="'()\[\]/\\|{}\u00ab\u00bb\u2000-\u206f\u3000-\u3003"""
_MAILBOX, _LABEL = f"[^{_NOT_IN_NAME}]", f"[^.{_NOT_IN_NAME}]"
_URL_REST = r"""[^\x00-\x20<>"]*[^\x00-\x20<>"'.,;:!?()\[\]]"""
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_DAY = "(?:0?[1-9]|[12][0-9]|3[01])"
_LOCAL_PHONE = r"[0-9]{3}[ .-][0-9]{4}\b"
_HEX4 = "[0-9A-Fa-f]{0,4}"

#: In order of precedence: where two begin at the same place, the earlier wins; otherwise the one further left does.
PATTERNS = (
    Pattern("url", rf"(?:[Hh][Tt][Tt][Pp][Ss]?|[Ff][Tt][Pp])://{_URL_REST}", first="HhFf", mark="://"),
    Pattern("url", rf"www\.{_URL_REST}", first="w", mark="www."),
    Pattern(
        "email",
        rf"(?<!{_MAILBOX}){_MAILBOX}+@(?:{_LABEL}+\.)+{_LABEL}+",
        measures.email,
        first="",
        at_word=False,
        mark="@",
    ),
    Pattern("iban", "[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}", measures.iban, first="A-Z"),
    Pattern(
        "card",
        r"(?:[0-9]{13,19}|[0-9]{4}(?:[ .-][0-9]{4}){2,3}(?:[ .-][0-9]{1,3})?|[0-9]{4}[ .-][0-9]{6}[ .-][0-9]{4,5})\b",
        measures.card,
    ),
    Pattern("ssn", r"[0-9]{3}(?:-[0-9]{2}-| [0-9]{2} )[0-9]{4}\b", measures.ssn),
    Pattern("mrn", r"[Mm][Rr][Nn][:# -]{0,3}[0-9]{6,10}\b", first="Mm"),
    Pattern("ip", r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b", measures.ipv4),
    Pattern(
        "ip",
        rf"[0-9A-Fa-f]{{1,4}}(?::{_HEX4}){{2,7}}",
        measures.ipv6,
        first="0-9A-Fa-f",
    ),
    Pattern("ip", rf":(?::{_HEX4}){{1,7}}", measures.ipv6, first=":", at_word=False),
    Pattern("phone", rf"(?:1[ .-])?[0-9]{{3}}[ .-]{_LOCAL_PHONE}|1[ .-]\([0-9]{{3}}\) ?{_LOCAL_PHONE}"),
    Pattern("phone", rf"\([0-9]{{3}}\) ?{_LOCAL_PHONE}", first="(", at_word=False),
    Pattern("phone", rf"\+1[ .-]?\([0-9]{{3}}\) ?{_LOCAL_PHONE}", first="+", at_word=False),
    Pattern(
        "phone",
        r"\+(?:[1-9][0-9]{0,2}(?:[ .-]\(?[0-9]{1,4}\)?){2,5}|[1-9][0-9]{7,14})\b",
        measures.phone,
        first="+",
        at_word=False,
    ),
    Pattern("date", r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]|\b)", measures.iso_date),
    Pattern("date", r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}\b", measures.slash_date),
    Pattern("date", rf"{_DAY} {_MONTH} [0-9]{{4}}\b"),
    Pattern("date", rf"{_MONTH} {_DAY},? [0-9]{{4}}\b", first="ADFJMNOS"),
)
#: What a policy's ``contains`` may name.
PATTERN_NAMES = tuple(dict.fromkeys(pattern.name for pattern in PATTERNS))
