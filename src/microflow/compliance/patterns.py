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

    A match is one character of ``first`` and then ``rest``: told apart, because skipping to the next character that
    anything begins with is what makes a search fast.

    Attributes:
        name: What is found, as a policy names it.
        first: The class of characters that a match begins with.
        rest: What comes behind it.
        measure: How many code points of a match, from its start, are the identifier: 0 for none.
        at_word: A match begins where a word does.
        mark: A literal in its first word; one without a mark holds a digit.
        before: The class of characters in front of a match that belong to the identifier; at least one must be there.
    """

    name: str
    first: str
    rest: str
    measure: Callable[[re.Match[str]], int] = measures.whole
    at_word: bool = True
    mark: str = ""
    before: str = ""

    @property
    def head(self) -> str:
        """The first character, with what has to hold in front of it."""
        return rf"\b[{self.first}]" if self.at_word else f"[{self.first}]"

    @property
    def expression(self) -> str:
        """The whole of it."""
        return f"{self.head}(?:{self.rest})"

    @property
    def starts(self) -> frozenset[str]:
        """The characters that a match may begin with."""
        return frozenset(char for char in map(chr, range(128)) if re.match(f"[{self.first}]", char))


# A mailbox or a domain label: anything but separators, so that internationalised names count (RFC 6531).
_NOT_IN_NAME = r"""\x00-\x20\x7f-\xa0@<>,;:!?*="'()\[\]/\\|{}\u00ab\u00bb\u2000-\u206f\u3000-\u3003"""
_MAILBOX, _LABEL = f"[^{_NOT_IN_NAME}]", f"[^.{_NOT_IN_NAME}]"
_URL_REST = r"""[^\x00-\x20<>"]*[^\x00-\x20<>"'.,;:!?()\[\]]"""
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_MONTH_REST = "(?:an|eb|ar|pr|ay|un|ul|ug|ep|ct|ov|ec)[a-z]{0,6}"
_LOCAL = r"[0-9]{3}[ .-][0-9]{4}\b"
_HEX4 = "[0-9A-Fa-f]{0,4}"
# Ranges that an expression can say cheaply stand in it: a look-alike dropped by the engine costs no call of a measure.
# What the Social Security Administration gives out (2011): no area 000, 666 or 9xx, no group 00, no serial 0000.
_SSN_GROUP = "(?!00)[0-9]{2}"
_SSN_REST = rf"[0-9]{{2}}(?:-{_SSN_GROUP}-| {_SSN_GROUP} )(?!0000)[0-9]{{4}}\b(?<!(?:000|666|9..).{{8}})"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

#: In order of precedence: where two begin at the same place, the earlier wins; otherwise the one further left does.
PATTERNS = (
    Pattern("url", ":", f"//{_URL_REST}", measures.url, at_word=False, mark="://", before="[A-Za-z]"),
    Pattern("url", "w", rf"ww\.{_URL_REST}", mark="www."),
    Pattern("email", "@", rf"(?:{_LABEL}+\.)+{_LABEL}+", measures.email, at_word=False, mark="@", before=_MAILBOX),
    Pattern("iban", "A-Z", "[A-Z][0-9]{2}(?: ?[A-Z0-9]){11,30}", measures.iban),
    Pattern(
        "card",
        "0-9",
        r"(?:[0-9]{12,18}|[0-9]{3}(?:[ .-][0-9]{4}){2,3}(?:[ .-][0-9]{1,3})?|[0-9]{3}[ .-][0-9]{6}[ .-][0-9]{4,5})\b",
        measures.card,
    ),
    Pattern("ssn", "0-9", _SSN_REST),
    Pattern("mrn", "Mm", r"[Rr][Nn][:# -]{0,3}[0-9]{6,10}\b"),
    Pattern("ip", "0-9", rf"[0-9]{{0,2}}(?:\.{_OCTET}){{3}}\b", measures.ipv4),
    Pattern("ip", ":", f"{_HEX4}(?::{_HEX4}){{1,6}}", measures.ipv6, at_word=False, mark=":", before="[0-9A-Fa-f]"),
    Pattern("ip", ":", f"(?::{_HEX4}){{1,7}}", measures.ipv6, at_word=False, mark=":"),
    Pattern("phone", "0-9", rf"[0-9]{{2}}[ .-]{_LOCAL}"),
    Pattern("phone", "1", rf"[ .-](?:[0-9]{{3}}[ .-]|\([0-9]{{3}}\) ?){_LOCAL}"),
    Pattern("phone", "(", rf"[0-9]{{3}}\) ?{_LOCAL}", at_word=False),
    Pattern("phone", "+", rf"1[ .-]?\([0-9]{{3}}\) ?{_LOCAL}", at_word=False),
    Pattern(
        "phone",
        "+",
        r"(?:[1-9][0-9]{0,2}(?:[ .-]\(?[0-9]{1,4}\)?){2,5}|[1-9][0-9]{7,14})\b",
        measures.phone,
        at_word=False,
    ),
    Pattern("date", "0-9", r"[0-9]{3}-(?:0[1-9]|1[0-2])-(?:[0-2][0-9]|3[01])(?:T[0-9]|\b)", measures.iso_date),
    Pattern("date", "0-9", r"[0-9]?/[0-9]{1,2}/[0-9]{4}\b", measures.slash_date),
    Pattern("date", "0-9", rf"[0-9]? {_MONTH} [0-9]{{4}}\b", measures.day_and_month),
    Pattern("date", "ADFJMNOS", rf"{_MONTH_REST} [0-9]{{1,2}},? [0-9]{{4}}\b"),
)
#: What a policy's ``contains`` may name.
PATTERN_NAMES = tuple(dict.fromkeys(pattern.name for pattern in PATTERNS))
