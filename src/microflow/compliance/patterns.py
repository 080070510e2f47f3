r"""Patterns of identifiers in text, for the scanner that both compiled checks share.

An expression proposes; a measure decides how much of a proposal is an identifier, so that look-alikes fall away (an
order number is no card: Luhn, ISO/IEC 7812-1; an SSN has no area 000, 666 or 9xx: SSA, 2011). Digits and boundaries are
ASCII (``re.ASCII``), since `microflow.compliance.scanner` searches a text whose digits, dashes and blanks of other
scripts have been written in ASCII. A number without any separator, mark or word beside it that says what it is (an SSN
as nine digits in a row) is not looked for. No pattern crosses a line, and each takes time linear in the text: what
repeats without bound is consumed by the match it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Literal

from microflow.compliance import measures

__all__ = ["BEHIND", "LEAD", "PATTERNS", "PATTERN_NAMES", "PLACES", "Pattern"]

Measure = Callable[[re.Match[str]], int]
#: A pattern that holds a digit or a mark begins at most so many code points before it.
LEAD = 48
#: How far in front of a match the words are read that make it one.
BEHIND = 24
#: How far in front of a match its beginning is looked for (a mailbox has at most 64 octets, RFC 5321).
_REACH = 256
_ASCII = "".join(map(chr, range(128)))


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way of writing one identifier.

    A match is one character of ``first`` and then ``rest``; separate, because skipping to the next character that
    anything begins with is what makes a search fast. So the rarest characters are looked for: what stands in front of
    them (a mailbox before its ``@``, a month before its day) is read backwards, once the rest is right.

    Attributes:
        name: What is found, as a policy names it.
        first: The class of characters that a match begins with.
        rest: What comes behind it.
        measure: How many code points of a match, from its start, are the identifier: 0 for none.
        at: Where a match may begin: at the beginning of a word, or behind a label glued to it; at a mark (no letter and
            no digit); or behind the two letters that a word begins with, or is.
        before: The class of characters in front of a match that belong to the identifier; at least one must be there.
        behind: An expression for what must stand in front of a match, at most `BEHIND` code points, and belongs to it.
        digits: How many digits follow each other where a match begins; any number, if empty. It says no more than the
            expression, but that many patterns need not be tried at a number.
        hint: In the syntax of Rust's regular expressions, what is in every text in which the pattern finds something,
            and not in most prose that holds digits.
    """

    name: str
    first: str
    rest: str
    measure: Measure = measures.whole
    at: Literal["word", "mark", "letters"] = "word"
    before: str = ""
    behind: str = ""
    digits: Collection[int] = ()
    hint: str = ""

    @property
    def expression(self) -> str:
        """The whole of it, what is read backwards apart."""
        return f"[{self.first}]{PLACES[self.at]}(?:{self.rest})"

    @property
    def starts(self) -> frozenset[str]:
        """The characters that a match may begin with."""
        return frozenset(re.findall(f"[{self.first}]", _ASCII))

    def begin(self, text: str, start: int) -> int:
        """Start of the identifier whose match begins at ``start``; a part of it is read backwards."""
        if self.before:
            found = _in_front(f"{self.before}+").match(text[max(start - _REACH, 0) : start][::-1])
        else:
            found = _in_front(rf"(?:{self.behind})\Z").search(text[max(start - BEHIND, 0) : start])
        return start - (found.end() - found.start() if found else 0)


@cache
def _in_front(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.ASCII)


#: Labels that are written without anything between them and their number, as in ``SSN123-45-6789``.
_LABELS = "|".join(
    rf"(?<=\b(?i:{words}).)"
    for words in ("ip", "ssn|tel|fax|mob|sms", "cell|call|card|visa|amex|home|work", "phone", "mobile|office")
)
#: What is true behind the first character of a match that begins there; the first is tried first.
PLACES = {
    "letters": r"(?:(?<=\b[A-Za-z]{2}[0-9])|(?<=\b[A-Z]{2}[ `-][0-9])|(?<=\b[Ii][Bb][Aa][Nn][A-Za-z]{2}[0-9]))",
    "word": r"(?:(?<=\b\w)|(?<=[A-Za-z][0-9])(?:" + _LABELS + "))",
    "mark": r"(?<=\W)",
}

# A mailbox or a domain label: anything but separators, so that internationalised names count (RFC 6531).
_NOT_IN_NAME = r"""\x00-\x20\x7f-\xa0@<>,;:!?*="'()\[\]/\\|{}\u00ab\u00bb\u2000-\u206f\u3000-\u3003"""
_MAILBOX, _LABEL = f"[^{_NOT_IN_NAME}]", f"[^.{_NOT_IN_NAME}]"
#: Domains of two letters in which public pages have short addresses without a scheme.
_SHORT_DOMAINS = "io|me|ly|co|de|uk|ie|fr|es|it|nl|us|ch|at|eu|be|gl"
_URL_REST = r"""[^\x00-\x20<>"]*[^\x00-\x20<>"'.,;:!?()\[\]]"""
#: Between the groups of a number: a mark, with or without blanks, or blanks.
_SEP = "(?: ?[.`-] ?| {1,2})"
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
_YEAR = "(?:[12][0-9]{3}(?![0-9A-Za-z]|[.][0-9])|'?[0-9]{2}(?![0-9A-Za-z]|[.:][0-9]))"
_LOCAL = f"[0-9]{{3}}{_SEP}[0-9]{{4}}(?![0-9])"
#: The interface of a link-local address (RFC 4007).
_ZONE = "(?:%[0-9A-Za-z]{1,15})?"
_HEX4 = "[0-9A-Fa-f]{0,4}"
# Ranges that an expression can say cheaply stand in it: a look-alike dropped by the engine costs no call of a measure.
# What the Social Security Administration gives out (2011): no area 000, 666 or 9xx, no group 00, no serial 0000.
_GROUPS = "|".join(f"{mark}(?!00)[0-9]{{2}}{mark}(?!0000)[0-9]{{4}}{_END}" for mark in (" ?- ?", " {1,2}", "[.`]"))
_SSN_REST = f"(?<!9)(?<!6(?=66))(?<!0(?=00))[0-9]{{2}}(?:{_GROUPS})"
#: How a label in front of a number may end that only its label makes a social security number.
_SSN_LABEL = "(?:(?<=[nNsSyYcCoOmMrR#:=.-].)|(?<=[nNsSyYcCoOmMrR#:=.-] .))"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_ANY_GROUPS = r"(?:[ ()./`-]{0,3}[0-9])"
_MM, _DD = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
#: Months as German, French, Spanish, Italian, Dutch and Portuguese write them, where no year need stand beside them.
_MONTH_ABROAD = (
    "(?:(?i:J(?:an(?:uari?|vier|eiro)|[\u00e4\u00c4]nner|uni|uli|uin|uillet|unio|ulio|unho|ulho)"
    "|F(?:ebruari?|[e\u00e9\u00c9]vrier|ebrero|ebbraio|evereiro)"
    "|M(?:[\u00e4\u00c4]rz|aerz|arzo|aart|ar[\u00e7\u00c7c]o|aggio)"
    "|A(?:vril|bril|prile|o[\u00fb\u00dbu]t|gosto|ugustus)|S(?:eptembre|ep?tiembre|ettembre|etembro)"
    "|O(?:ktober|ctobre|ctubre|ttobre|utubro)|N(?:ovembre|oviembre|ovembro)"
    "|D(?:ezember|[e\u00e9\u00c9]cembre|iciembre|icembre|ezembro)|enero|gennaio|giugno|luglio)|(?<=de )mayo)"
)
#: The same, and those that mean something else, where a year stands behind them.
_MONTH_BEFORE_YEAR = f"(?:{_MONTH_ABROAD}|Mai|mai|mars|mayo)"
#: How they end where English ones do not.
_ENDS_ABROAD = (
    "(?i:uar|ner|ier|iro|ero|aio|ari|[\u00e4\u00c4a]rz|erz|rzo|art|r[\u00e7c]o|ars|mai|ayo|gio|uni|uli|nio|lio|gno|nho|lho|uin"
    "|let|o[\u00fbu]t|sto|tus|bre|bro|ile|ber|ril|ust)"
)
#: A word that may be a month in any language, and what stands between it and its day.
_WORD = "[A-Za-z\u00aa-\u024f\u0400-\u04ff]{3,12}"
_DAY_OF = r"(?>[0-9]?(?:\.?[\u00ba\u00b0\u00aa]|er|[.])?(?: de| di)? ?)"
# Nothing of this is tried in another way: what follows does not begin like it.
_DAY_MONTH = rf"(?>[0-9]?{_ORDINAL}?(?: day)?(?: of)?(?: ?[./`-] ?| {{1,3}})?){_MONTH}"

# Hints: so many digits in any grouping; numbers joined by marks; a number beside the name of a month.
_SEVEN, _SIX = (rf"[0-9](?:[ \t()./_-]{{0,3}}[0-9]){{{more}}}" for more in (6, 5))
_AREA = r"[0-9]{3}[)\]}][ .-]{0,3}[0-9]{3}"
_JOINED = r"[0-9] ?[./_-] ?[0-9]{1,3} ?[./_-] ?'?[0-9]"
_COLONS = "::|(?:[0-9A-Fa-f]{1,4}:){5}"
_BEGUN = (
    "(?i:jan|j[\u00e4\u00c4]n|feb|f[e\u00e9\u00c9]v|m[a\u00e4\u00c4]r|ma[aegiy]|mei|a[pvb]r|ju[nil]|giu|lug|a[ug][gou]|ao|se[pt]"
    "|o[ckt]t|out|nov|d[ei\u00e9\u00c9][czi]|ene|gen)"
)
_BEFORE_MONTH = rf"[0-9](?i:st|nd|rd|th|er)?[.\u00ba\u00b0]?(?i: of| de)?[ \t./_-]{{0,3}}{_BEGUN}"
_BEHIND_MONTH = rf"{_BEGUN}[A-Za-z]{{0,6}}[.,]?(?i: the| of)?[ \t/_-][0-9]"


def _day(rest: str, hint: str, measure: Measure = measures.named_month, behind: str = "") -> Pattern:
    """A date of which a day in one or two digits is found first."""
    return Pattern("date", "0-9", rest, measure, behind=behind, digits=(1, 2), hint=hint)


def _year(rest: str, hint: str, measure: Measure, behind: str = "") -> Pattern:
    """A date of which a year in four digits is found first."""
    return Pattern("date", "12", rest, measure, behind=behind, digits=(4,), hint=hint)


def _phone(
    first: str, rest: str, measure: Measure = measures.north_american, digits: Collection[int] = (), hint: str = _SEVEN
) -> Pattern:
    return Pattern("phone", first, rest, measure, "word" if first[0].isdigit() else "mark", digits=digits, hint=hint)


#: In order of precedence: where two begin at the same place, the earlier wins; otherwise the one further left does.
PATTERNS = (
    Pattern("url", ":", f"(?<=[A-Za-z][A-Za-z0-9]:)//{_URL_REST}", at="mark", before="[A-Za-z0-9+]", hint="://"),
    Pattern("url", "Ww", rf"[Ww]{{2}}[0-9]{{0,2}}\.{_URL_REST}", hint=r"[Ww]{2}[0-9]{0,2}\."),
    Pattern("url", "/", rf"(?:(?<=\.(?i:com|org|net|edu|gov|int)/)|(?<=\.(?i:{_SHORT_DOMAINS})/)){_URL_REST}",
            at="mark", before="[A-Za-z0-9.-]", hint=r"\.[A-Za-z]{2,3}/"),
    Pattern("email", "@", rf"(?:{_LABEL}+\.)+{_LABEL}+", measures.email, at="mark",
            before=f"(?:{_MAILBOX}|(?<=[A-Za-z])'(?=[A-Za-z]))", hint=r"@[^@\x00-\x20]+\.[^@\x00-\x20]"),
    Pattern("iban", "0-9", "[0-9](?:[ ./`-]{0,2}[A-Za-z0-9]){11,30}", measures.iban, at="letters",
            behind="[A-Za-z]{2}[ `-]?", hint=r"[A-Za-z]{2}[0-9]{2}|[A-Z]{2}[ \t_-][0-9]{2}"),
    Pattern("card", "0-9",
            r"(?=(?:[ .`-]{0,3}[0-9]){11})(?:[0-9]{11,18}"
            rf"|[0-9]{{2,7}}(?:{_SEP}[0-9]{{3,10}}){{1,5}}(?:{_SEP}[0-9]{{1,3}})?|(?:{_SEP}[0-9]){{11,18}}){_END}",
            measures.card, digits=(1, *range(3, 9), *range(12, 20)), hint=_SEVEN),
    Pattern("ssn", "0-9", _SSN_REST, digits=(3,), hint=_SEVEN),
    Pattern("ssn", "0-9", rf"{_SSN_LABEL}(?:[./`-]?[0-9]){{8}}{_END}", measures.ssn_by_cue, digits=range(1, 10),
            hint=_SEVEN),
    Pattern("ssn", "0-9", rf"{_SSN_LABEL}[0-9]{{2}} [0-9]{{2,3}} [0-9]{{3,4}}{_END}", measures.ssn_by_cue, digits=(3,),
            hint=_SEVEN),
    Pattern("mrn", "Mm",
            r"(?i:rns?|\.r\.n\.?|ed(?:ical|\.)?[ `-]?rec(?:ord)?s?\.?)(?:[ `-]?(?i:no|num|nr|number|id)\b\.?)?"
            r"(?: (?:is|was|of)\b)?[\"'.,;:=#`|/(\[<> -]{0,5}(?:[A-Za-z]{1,3}-?)?"
            rf"(?:[0-9]{{5,12}}|(?=(?:[ `-]?[0-9]){{6}})[0-9]{{2,4}}(?:[ `-][0-9]{{2,4}}){{1,3}}){_END}",
            hint=rf"[0-9]{{5}}|{_SIX}"),
    Pattern("mrn", "0-9", rf"(?:(?<=[#:=. -].)|(?<=[A-Za-z] .))[0-9]{{4,11}}{_END}", digits=range(5, 13),
            behind=r"\b(?i:(?:mr|(?:pat(?:ient)?|pt|hosp(?:ital)?|unit|(?:medical )?record|chart)\.?)[ `-]?"
            r"(?:#|(?:id|no|nr|num|number)\b\.?(?: is\b)?)|uhid|empi)[ :=#-]{0,3}", hint="[0-9]{5}"),
    Pattern("ip", "0-9", rf"[0-9]{{0,2}}(?:\.{_OCTET}){{3}}\b", measures.ipv4, digits=(1, 2, 3), hint=_JOINED),
    Pattern("ip", ":",
            rf"(?=(?:{_HEX4}:){{0,5}}(?::|{_HEX4}:{_HEX4}[:.])){_HEX4}(?::{_HEX4}){{1,6}}"
            rf"(?:(?:\.{_OCTET}){{3}})?{_ZONE}", measures.ipv6, at="mark", before="[0-9A-Fa-f]", hint=_COLONS),
    Pattern("ip", ":", rf"(?::{_HEX4}){{1,7}}(?:(?:\.{_OCTET}){{3}})?{_ZONE}", measures.ipv6, at="mark", hint=_COLONS),
    Pattern("date", "0-9",
            rf"[0-9]{{3}}(?:[./`-]{_MM}[./`-]{_DD}|-[0-9]{{1,2}}-[0-9]{{1,2}}|/[0-9]{{1,2}}/[0-9]{{1,2}})"
            rf"(?:T[0-9]|{_END})|[0-9]{{3}}{_MM}{_DD}T[0-9]{{2}}", measures.iso_date, digits=(4, 8),
            hint=rf"{_JOINED}|[0-9]{{8}}T"),
    _day(rf"(?:[0-9]?/[0-9]{{1,2}}/|[0-9]?-[0-9]{{1,2}}-|[0-9]?[.`][0-9]{{1,2}}[.`]){_YEAR}(?!-[0-9])"
         rf"|[0-9]? ?[/-] ?[0-9]{{1,2}} ?[/-] ?(?:19|20)[0-9]{{2}}{_END}", _JOINED, measures.numeric_date),
    Pattern("date", "01", r"[0-9]/(?:19|20)[0-9]{2}(?![0-9A-Za-z/.])", measures.month_and_year, digits=(2,),
            hint="[0-9]/[12][0-9]{3}"),
    _year("[0-9]{3} ?[\u5e74\ub144] ?[0-9]{1,2} ?[\u6708\uc6d4] ?[0-9]{1,2} ?[\u65e5\uc77c]",
          r"[0-9] ?[\x{5e74}\x{b144}]", measures.iso_date),
    Pattern("date", "0-9", rf"(?:[0-9]{{7}}|[0-9]{{5}}){_END}", measures.date_by_cue, digits=(6, 8), hint="[0-9]{6}"),
    _day(rf"{_DAY_MONTH}[.,]{{0,2}}(?: ?- ?|[/`]| {{0,2}}){_YEAR}", _BEFORE_MONTH),
    _day(rf"{_DAY_OF}{_WORD}\.?,?(?: del?)? [12][0-9]{{3}}{_END}",
         r"[0-9][.\x{ba}\x{b0}\x{aa}er]{0,2}(?: d[ei])? ?\p{L}{3,12}\.?,?(?: del?)? [12][0-9]{3}",
         measures.month_of_any_language),
    _day(rf"{_DAY_OF}(?<=[ .]){_MONTH_ABROAD}{_END}", _BEFORE_MONTH),
    _year(rf"(?:(?<={_ENDS_ABROAD} .)|(?<={_ENDS_ABROAD}, .)|(?<={_ENDS_ABROAD} de .)|(?<={_ENDS_ABROAD} del .))"
          rf"(?:(?<=1)[89]|(?<=2)0)[0-9]{{2}}{_END}", _BEHIND_MONTH, measures.named_month,
          behind=rf"\b{_MONTH_BEFORE_YEAR}(?: del?)?,? "),
    _day(rf"[0-9]?(?:{_ORDINAL}(?: of)? {_MONTH}| {_MONTH_AS_NAME})\b", _BEFORE_MONTH),
    _day(rf"(?:(?<={_ENDS}[ /-].)|(?<={_ENDS}[.,][ -].))(?>[0-9]?{_ORDINAL}?)(?:,? {{1,2}}|, ?|[/-]){_YEAR}",
         _BEHIND_MONTH, behind=rf"\b{_MONTH}[.,]?[ /-]"),
    _day(rf"(?<=[A-Za-z.] .)[0-9]?{_ORDINAL}\b", _BEHIND_MONTH, behind=rf"\b{_MONTH}\.?(?: the)? "),
    _day(rf"(?:(?<={_ENDS} .)|(?<={_ENDS}\. .))[0-9]?(?![0-9A-Za-z%]|[.,/:-][0-9])", _BEHIND_MONTH,
         behind=rf"\b{_MONTH_AS_NAME}\.? "),
    _year(rf"[0-9]{{3}}[ ./`-]{_MONTH}[ ./`-][0-9]{{1,2}}{_END}", _BEFORE_MONTH, measures.year_first),
    _year(rf"(?:(?<=[A-Za-z.,/-].)|(?<=[A-Za-z.,] .))[0-9]{{3}}{_END}"
          rf"(?:(?<={_ENDS}[./, -].{{4}})|(?<={_ENDS}[.,] .{{4}})|(?<={_ENDS} of .{{4}}))",
          _BEHIND_MONTH, measures.named_month, behind=rf"\b{_MONTH}(?:[.,]? | of |[-/])"),
    _phone("0-9", rf"[0-9]{{2}}(?:{_SEP}|/){_LOCAL}", digits=(3,)),
    _phone("1", rf"{_SEP}(?:[0-9]{{3}}{_SEP}|\([0-9]{{3}}\){_SEP}?){_LOCAL}", digits=(1,)),
    _phone(r"(\[{", rf"[0-9]{{3}}[)\]}}]{_SEP}?{_LOCAL}", hint=_AREA),
    _phone("8", r" ?\([0-9]{3}\) ?[0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{2}(?![0-9])", digits=(1,)),
    _phone(r"(\[{", rf"0?[0-9]{{1,4}}\) ?[0-9]{{3,5}}[ -][0-9]{{3,5}}{_END}"),
    _phone("+", rf" ?\(?[1-9]{_ANY_GROUPS}{{6,17}}(?![0-9])", measures.international),
    _phone("0", rf"0[ .-]?[1-9]{_ANY_GROUPS}{{6,17}}(?![0-9])", measures.international),
    _phone("0", rf"11[ .-][1-9]{_ANY_GROUPS}{{6,17}}(?![0-9])", measures.international, digits=(3,)),
    _phone("2-9", "[0-9]{9}(?=[ ,;]{0,2}(?i:x|ext)[.:=]? ?[0-9])", digits=(10,)),
    _phone("0", rf"[1-9]{_ANY_GROUPS}{{6,12}}(?![0-9])", measures.national),
    _phone("1-9", rf"{_ANY_GROUPS}{{6,14}}(?![0-9])", measures.cued),
    _phone(r"(\[{", rf"[0-9]{_ANY_GROUPS}{{6,14}}(?![0-9])", measures.cued),
)  # fmt: skip
#: What a policy's ``contains`` may name: patterns, and what a record's own columns give (`microflow.compliance.own`).
PATTERN_NAMES = (*dict.fromkeys(pattern.name for pattern in PATTERNS), "name", "address", "identifier")
