r"""What an identifier looks like inside text, for the scanner that both compiled checks share.

An expression proposes; a measure decides how much of a proposal is an identifier, so that look-alikes fall away (an
order number is no card: Luhn, ISO/IEC 7812-1; an SSN has no area 000, 666 or 9xx: SSA, 2011). Digits and boundaries are
ASCII (``re.ASCII``), since `microflow.compliance.scanner` searches a text whose digits, dashes and blanks of other
scripts have been written in ASCII. A number without any separator, mark or word beside it that says what it is (an SSN
as nine digits in a row) is not looked for. No pattern crosses a line, and each takes time linear in the text: what
repeats without bound is consumed by the match it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from microflow.compliance import measures

__all__ = ["BEHIND", "LEAD", "OWN_NAMES", "PATTERNS", "PATTERN_NAMES", "PLACES", "Pattern"]

#: A pattern that holds a digit or a mark begins at most so many code points before it.
LEAD = 48
#: How far in front of a match the words are read that make it one.
BEHIND = 24


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way of writing one identifier.

    A match is one character of ``first`` and then ``rest``: told apart, because skipping to the next character that
    anything begins with is what makes a search fast. So the rarest characters are looked for: what stands in front of
    them (a mailbox before its ``@``, a month before its day) is read backwards, once the rest is right.

    Attributes:
        name: What is found, as a policy names it.
        first: The class of characters that a match begins with.
        rest: What comes behind it.
        measure: How many code points of a match, from its start, are the identifier: 0 for none.
        at: Where a match may begin: at the beginning of a word, at a mark (no letter and no digit), or behind the two
            letters that a word begins with.
        before: The class of characters in front of a match that belong to the identifier; at least one must be there.
        behind: An expression for what must stand in front of a match, at most `BEHIND` code points, and belongs to it.
        digits: How many digits follow each other where a match begins, if that is not for its expression alone to say.
    """

    name: str
    first: str
    rest: str
    measure: Callable[[re.Match[str]], int] = measures.whole
    at: Literal["word", "mark", "letters"] = "word"
    before: str = ""
    behind: str = ""
    digits: range = range(0)

    @property
    def expression(self) -> str:
        """The whole of it, what is read backwards apart."""
        return f"[{self.first}]{PLACES[self.at]}(?:{self.rest})"

    @property
    def starts(self) -> frozenset[str]:
        """The characters that a match may begin with."""
        return frozenset(char for char in map(chr, range(128)) if re.match(f"[{self.first}]", char))


#: What is true behind the first character of a match that begins there.
PLACES = {"word": r"(?<=\b\w)", "mark": r"(?<=\W)", "letters": r"(?<=\b[A-Za-z]{2}[0-9])"}

# A mailbox or a domain label: anything but separators, so that internationalised names count (RFC 6531).
_NOT_IN_NAME = r"""\x00-\x20\x7f-\xa0@<>,;:!?*="'()\[\]/\\|{}\u00ab\u00bb\u2000-\u206f\u3000-\u3003"""
_MAILBOX, _LABEL = f"[^{_NOT_IN_NAME}]", f"[^.{_NOT_IN_NAME}]"
_URL_REST = r"""[^\x00-\x20<>"]*[^\x00-\x20<>"'.,;:!?()\[\]]"""
#: Between the groups of a number: a mark, with or without blanks, or blanks.
_SEP = "(?: ?[.-] ?| {1,2})"
_END = "(?![0-9A-Za-z])"
_MONTH = (
    "(?=[ADFJMNOSadfjmnos])(?i:J(?:an(?:uary)?|une?|uly?)|Feb(?:ruary)?|Ma(?:r(?:ch)?|y)|A(?:pr(?:il)?|ug(?:ust)?)"
    "|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
#: How the names of months end, to tell most words in front of a number without reading them backwards.
_ENDS = "(?i:ary|rch|ril|may|une|uly|ust|ber|jan|feb|mar|apr|jun|jul|aug|sep|ept|oct|nov|dec)"
#: Without an ordinal and a year, only what is written as a name is one (``may 3`` is none).
_MONTH_AS_NAME = f"(?=[A-Z]){_MONTH}"
_ORDINAL = "(?i:st|nd|rd|th)"
_YEAR = "(?:[12][0-9]{3}|'?[0-9]{2})(?![0-9A-Za-z]|[.:][0-9])"
_LOCAL = f"[0-9]{{3}}{_SEP}[0-9]{{4}}(?![0-9])"
_HEX4 = "[0-9A-Fa-f]{0,4}"
# Ranges that an expression can say cheaply stand in it: a look-alike dropped by the engine costs no call of a measure.
# What the Social Security Administration gives out (2011): no area 000, 666 or 9xx, no group 00, no serial 0000.
_GROUPS = "|".join(f"{mark}(?!00)[0-9]{{2}}{mark}(?!0000)[0-9]{{4}}{_END}" for mark in (" ?- ?", " {1,2}", "[.]"))
_SSN_REST = f"(?<!9)(?<!6(?=66))(?<!0(?=00))[0-9]{{2}}(?:{_GROUPS})"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_ANY_GROUPS = r"(?:[ ()./-]{0,3}[0-9])"
_DAY = range(1, 3)
# Nothing of this is tried in another way: what follows does not begin like it.
_DAY_MONTH = rf"(?>[0-9]?{_ORDINAL}?(?: of)?(?: ?[.-] ?| {{1,3}})?){_MONTH}"

#: In order of precedence: where two begin at the same place, the earlier wins; otherwise the one further left does.
PATTERNS = (
    Pattern("url", ":", f"(?<=[A-Za-z][A-Za-z0-9]:)//{_URL_REST}", at="mark", before="[A-Za-z0-9+]"),
    Pattern("url", "Ww", rf"[Ww]{{2}}[0-9]{{0,2}}\.{_URL_REST}"),
    Pattern("email", "@", rf"(?:{_LABEL}+\.)+{_LABEL}+", measures.email, at="mark", before=_MAILBOX),
    Pattern(
        "iban",
        "0-9",
        "[0-9](?:[ -]{0,2}[A-Za-z0-9]){11,30}",
        measures.iban,
        at="letters",
        behind="[A-Za-z]{2}",
    ),
    Pattern(
        "card",
        "0-9",
        r"(?=(?:[ .-]{0,3}[0-9]){11})"
        rf"(?:[0-9]{{11,18}}|[0-9]{{2,5}}(?:{_SEP}[0-9]{{3,10}}){{1,5}}(?:{_SEP}[0-9]{{1,3}})?|(?:{_SEP}[0-9]){{11,18}})"
        rf"{_END}",
        measures.card,
    ),
    Pattern("ssn", "0-9", _SSN_REST),
    Pattern("ssn", "0-9", rf"[0-9]{{8}}{_END}", measures.ssn_by_cue),
    Pattern(
        "mrn",
        "Mm",
        rf"(?:[Rr][Nn]|(?i:edical record))(?: ?(?i:no|num|nr|number)\b)?(?: is\b)?[.:=#` -]{{0,4}}"
        rf"(?:[A-Za-z]{{1,3}}-?)?[0-9]{{6,12}}{_END}",
    ),
    Pattern("ip", "0-9", rf"[0-9]{{0,2}}(?:\.{_OCTET}){{3}}\b", measures.ipv4),
    Pattern(
        "ip",
        ":",
        rf"(?=(?:{_HEX4}:){{0,5}}(?::|{_HEX4}:{_HEX4}[:.])){_HEX4}(?::{_HEX4}){{1,6}}(?:(?:\.{_OCTET}){{3}})?",
        measures.ipv6,
        at="mark",
        before="[0-9A-Fa-f]",
    ),
    Pattern("ip", ":", rf"(?::{_HEX4}){{1,7}}(?:(?:\.{_OCTET}){{3}})?", measures.ipv6, at="mark"),
    Pattern(
        "date",
        "0-9",
        rf"[0-9]{{3}}[./-](?:0[1-9]|1[0-2])[./-](?:0[1-9]|[12][0-9]|3[01])(?:T[0-9]|{_END})",
        measures.iso_date,
    ),
    Pattern(
        "date",
        "0-9",
        rf"(?:[0-9]?/[0-9]{{1,2}}/|(?:[0-9]-[0-9]{{1,2}}|-[0-9]{{2}})-|[0-9]\.[0-9]{{2}}\.){_YEAR}(?!-[0-9])",
        measures.numeric_date,
        digits=_DAY,
    ),
    Pattern(
        "date",
        "0-9",
        rf"{_DAY_MONTH}[.,]?(?: ?- ?|/| {{0,2}}){_YEAR}",
        measures.named_month,
        digits=_DAY,
    ),
    Pattern(
        "date",
        "0-9",
        rf"[0-9]?(?:{_ORDINAL}(?: of)? {_MONTH}| {_MONTH_AS_NAME})\b",
        measures.named_month,
        digits=_DAY,
    ),
    Pattern(
        "date",
        "0-9",
        rf"(?:(?<={_ENDS}[ -].)|(?<={_ENDS}[.,][ -].))(?>[0-9]?{_ORDINAL}?)(?:,? {{1,2}}|, ?|-){_YEAR}",
        measures.named_month,
        behind=rf"\b{_MONTH}[.,]?[ -]",
        digits=_DAY,
    ),
    Pattern(
        "date",
        "0-9",
        rf"(?<=[A-Za-z.] .)[0-9]?{_ORDINAL}\b",
        measures.named_month,
        behind=rf"\b{_MONTH}\.? ",
        digits=_DAY,
    ),
    Pattern(
        "date",
        "0-9",
        rf"(?:(?<={_ENDS} .)|(?<={_ENDS}\. .))[0-9]?(?![0-9A-Za-z%]|[.,/:-][0-9])",
        measures.named_month,
        behind=rf"\b{_MONTH_AS_NAME}\.? ",
        digits=_DAY,
    ),
    Pattern(
        "date",
        "12",
        rf"(?:(?<=[A-Za-z.,/-].)|(?<=[A-Za-z.,] .))[0-9]{{3}}{_END}"
        rf"(?:(?<={_ENDS}[./, -].{{4}})|(?<={_ENDS}[.,] .{{4}})|(?<={_ENDS} of .{{4}}))",
        measures.named_month,
        behind=rf"\b{_MONTH}(?:[.,]? | of |[-/])",
    ),
    Pattern("phone", "0-9", rf"[0-9]{{2}}(?:{_SEP}|/){_LOCAL}", measures.north_american),
    Pattern(
        "phone",
        "1",
        rf"{_SEP}(?:[0-9]{{3}}{_SEP}|\([0-9]{{3}}\){_SEP}?){_LOCAL}",
        measures.north_american,
    ),
    Pattern("phone", "(", rf"[0-9]{{3}}\){_SEP}?{_LOCAL}", measures.north_american, at="mark"),
    Pattern("phone", "(", rf"0?[0-9]{{1,4}}\) ?[0-9]{{3,5}}[ -][0-9]{{3,5}}{_END}", measures.north_american, at="mark"),
    Pattern("phone", "+", rf" ?\(?[1-9]{_ANY_GROUPS}{{6,17}}(?![0-9])", measures.international, at="mark"),
    Pattern("phone", "0", rf"0[ .-]?[1-9]{_ANY_GROUPS}{{6,17}}(?![0-9])", measures.international),
    Pattern("phone", "0", rf"[1-9]{_ANY_GROUPS}{{6,12}}(?![0-9])", measures.national),
    Pattern("phone", "1-9", rf"{_ANY_GROUPS}{{6,14}}(?![0-9])", measures.cued),
    Pattern("phone", "(", rf"[0-9]{_ANY_GROUPS}{{6,14}}(?![0-9])", measures.cued, at="mark"),
)
#: What a record's own columns give to look for in its prose (see `microflow.compliance.own`).
OWN_NAMES = ("name", "address", "identifier")
#: What a policy's ``contains`` may name.
PATTERN_NAMES = (*dict.fromkeys(pattern.name for pattern in PATTERNS), *OWN_NAMES)
