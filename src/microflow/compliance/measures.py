"""Extent of an identifier in a proposed match: by check digits, ranges, and the text around it."""

from __future__ import annotations

import re
from datetime import date
from ipaddress import IPv6Address

from stdnum.iso7064 import mod_97_10

__all__ = [
    "IBAN_LENGTHS", "card", "cued", "date_by_cue", "email", "iban", "international", "ipv4", "ipv6", "iso_date", "luhn",
    "month_and_year", "month_of_any_language", "named_month", "national", "north_american", "numeric_date",
    "ssn_by_cue", "whole", "year_first",
]  # fmt: skip

# What a digit's character code adds to Luhn's sum, as it is and doubled (the digits of the product added).
_VALUE = bytes(max(code - 48, 0) for code in range(256))
_DOUBLED = bytes(sum(divmod(2 * (code - 48), 10)) if 48 <= code < 58 else 0 for code in range(256))  # noqa: PLR2004
_CARD_LENGTHS = range(12, 20)
_DIGIT_CHARS = "0123456789"
#: Issuers' ranges (ISO/IEC 7812); twelve digits are Maestro's alone, of which these beginnings are given out.
_CARD_START = re.compile("(?:[2-6]|1800|2131)[0-9]{12}|(?:50[0-9]{2}|5[6-8][0-9]{2}|6[0-9]{3}|0604)[0-9]{8}|1800|2131")
_NO_MARKS = str.maketrans("", "", " .-/()`")
_DIGITS = re.compile("[0-9]+")
_NATIONAL, _CUED = range(9, 13), range(7, 13)
_WINDOW, _NEAR = 48, 18
#: What stands beside a telephone number that could be any number by itself.
_CUE_BEFORE = re.compile(
    r"""(?:\b(?:phone|telephone|telefon|t[eé]l|t[eé]l[eé]phone|tel[eé]fono|telefone|tlf|mobile|mobiel|mob|m[oó]vil|portable|cell
    |cellphone|cellular|celular|gsm|handy|fax|desk|hotline|landline|whatsapp|sms|(?-i:Ph|ph(?=[.\#])))s?\b
    (?:[ ]?(?:no|nr|num|number|is|was|at|on|or|the|\#)\b)*[ .:=,#-]*\n?[ ]*
    |\b(?:call|dial|ring|text|messag|answer|contact|reach|phon)\w*\b[\w ']{0,24}[ ]
    (?:at|on|to|under|registered)[ :]*|\b(?:call|dial|ring)[ ]+)\Z""",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
_CUE_BEHIND = re.compile(r"[ ,-]{0,2}\(?(?:office|fax|mobile|cell|home|work|desk|phone|landline)\b", re.IGNORECASE)
#: How the last word of such a cue may end, which is found out faster.
_CUE_ENDS = frozenset(
    (word + plural)[-2:]
    for plural in ("", "s")
    for word in """phone telefon tel t\u00e9l fono tlf mobile mobiel mob vil cell cellular gsm handy fax desk line app
    sms ph no nr num number is was at on or the call dial ring to under registered""".split()  # noqa: SIM905
)
_IS_CUE_NEAR = re.compile(r"[ ,;(-]{0,3}(?:x|#|ext|off|fax|mob|cell|home|work|desk|pho|land)", re.IGNORECASE | re.ASCII)
#: An individual's taxpayer number is written like one, with an area that Social Security does not give out.
_SSN_CUE = re.compile(
    r"\b(?:ssns?|ss[ ]?\#|soc(?:ial|\.)?[ ]?sec(?:urity|\.)?|i?tin)(?:[ ](?:no|number|num|nr)\b)?[ .:=#is-]{0,6}\Z",
    re.IGNORECASE,
)
_EXTENSION = re.compile(
    r"[ ,;]{0,2}(?:\((?:x|ext|extn|extension)|x|ext|extn|extension|#)[.:=]?[ ]?[#]?[0-9]{1,7}(?![0-9])\)?",
    re.IGNORECASE,
)
#: The time of day behind a date: a date that has one is exact to the minute.
_TIME = re.compile(
    r"(?:T[0-2][0-9][0-5][0-9](?:[0-5][0-9])?"
    r"|(?:T|:|,?[ ](?:at[ ])?)(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?)(?![0-9])"
    r"(?:[ ]?[ap]\.?m\b\.?)?(?:Z\b|[ ]?[+-][0-9]{2}:?[0-9]{2}\b)?",
    re.IGNORECASE | re.ASCII,
)
#: In front of a date that could be another number: what names a date, and what stands in front of a day.
_NAMES_DATE = re.compile(
    r"\b(?:date|datum|dob|d\.o\.b|born|birth|geb|geboren)\b[ .:=#]{0,3}(?:of|on|is|am)?[ :]?\Z", re.IGNORECASE
)
_BEFORE_DAY = re.compile(
    r"\b(?:am|vom|seit|bis|n[e\u00e9]e?|nato|nata|nacid[oa]|on|since|until|le|du|il|op)[ :]\Z", re.IGNORECASE
)
#: What months are called in Danish, Dutch, Finnish, French, German, Italian, Norwegian, Polish, Portuguese, Russian,
#: Spanish, Swedish and Turkish, short forms included: only beside a day and a year.
_MONTH_WORDS = frozenset(
    """abr abril ago agosto agustos aout aoû août apr april aprile aralik aralık aug august augusti augustus avr
    avril ağustos czerwca dec december decembre des desember dez dezember dezembro dic dicembre diciembre déc
    décembre ekim elokuuta ene enero eylul eylül feb febbraio febrero februar februari fev fevereiro fevr
    fevrier fév févr février gen gennaio giu giugno grudnia haziran heinäkuuta helmikuuta huhtikuuta jan janeiro
    januar januari janv janvier joulukuuta juil juillet juin jul julho juli julio jun junho juni junio jän
    jänner kasim kasım kesäkuuta kwietnia lipca listopada lokakuuta lug luglio lutego maaliskuuta maart maerz
    mag maggio mai maio maj maja mar marca marco marraskuuta mars mart marts marzo março may mayis mayo mayıs
    mei mrt mrz mär märz nisan nov november novembre novembro noviembre ocak oct octobre octubre okt oktober ott
    ottobre out outubro października sep sept september septembre septiembre set setembro setiembre sett
    settembre sierpnia stycznia subat syyskuuta tammikuuta temmuz toukokuuta września şubat авг августа апр
    апреля дек декабря июл июля июн июня мар марта мая ноя ноября окт октября сент сентября февраля янв января
    """.split()  # noqa: SIM905
)
_FOLLOWED = re.compile("[./-][0-9]")
_OCTET = 255
_IPV6_COLONS = 7
_HEX, _GROUP = frozenset("0123456789ABCDEFabcdef"), 4
_MONTHS, _DAYS, _LAST_DAY_OR_YEAR = range(1, 13), range(1, 32), 999

#: An IBAN has a bank's four letters and rarely more.
_MOST_LETTERS = 6
#: Lengths by country of all countries in the ISO 13616 registry (SWIFT, release 99).
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip

#: Most digits of a number behind ``+``, by country calling code (national numbering plans; ITU-T E.164 allows 15).
_MOST_DIGITS = {
    code: most
    for most, codes in {
        10: "45 47 65", 11: "1 27 31 32 33 34 36 40 41 48 61 7", 12: "20 30 44 46 64 81 82 91 351 352 353 420",
        14: "43 49",
    }.items()
    for code in codes.split()
}  # fmt: skip


def whole(match: re.Match[str]) -> int:
    """Length of the whole match: the expression decides everything."""
    return match.end() - match.start()


def luhn(digits: str) -> bool:
    """True if the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    codes = digits.encode()[::-1]
    return (sum(codes[::2].translate(_VALUE)) + sum(codes[1::2].translate(_DOUBLED))) % 10 == 0


def card(match: re.Match[str]) -> int:
    """A payment card number; groups written after it (a security code, a year) do not belong to it."""
    text = match[0]
    digits = text.translate(_NO_MARKS)
    while len(digits) >= _CARD_LENGTHS.start and _CARD_START.match(digits):
        if len(digits) in _CARD_LENGTHS and luhn(digits):
            return len(text)
        groups = text.rstrip(_DIGIT_CHARS)
        digits = digits[: len(digits) - len(text) + len(groups)]
        text = groups.rstrip(" .`-")
    return 0


def email(match: re.Match[str]) -> int:
    """A top-level domain is no number and longer than a letter (``5@3.50`` is a price)."""
    top = match[0].rpartition(".")[2]
    return len(match[0]) if len(top) > 1 and not top.isdigit() else 0


def iban(match: re.Match[str]) -> int:
    """ISO 13616: rotate four characters, and the check digits are those of ISO 7064, modulo 97.

    The match begins at the check digits; what is glued to the end may be letters, of which the length tells it.
    """
    start = match.start()
    spaced = not match.string[start - 1].isalpha()
    country = match.string[start - 2 - spaced : start - spaced].upper()
    ends = [place + 1 for place, char in enumerate(match[0]) if char.isalnum()]
    length = IBAN_LENGTHS.get(country, 0) - 2
    if not 0 < length <= len(ends) or match.string[start + ends[length - 1] :][:1].isdigit():
        return 0
    digits = match[0].translate(_NO_MARKS)[:length].upper()
    if spaced and sum(map(str.isalpha, digits)) > _MOST_LETTERS:
        return 0  # words behind one of two letters, as ``AT 12 weeks``
    return ends[length - 1] if mod_97_10.checksum(digits[2:] + country + digits[:2]) == 1 else 0


def ipv4(match: re.Match[str]) -> int:
    """An address by itself, and no part of a longer dotted number.

    The expression has held the last three octets to their range; the first, of which it sees one digit apart, is ours.
    """
    text, start, end = match.string, match.start(), match.end()
    longer = text[end : end + 1] == "." and _is_word(text, end + 1)
    glued = start > 0 and text[start - 1] == "." and _is_word(text, start - 2)
    first = match[0].partition(".")[0]
    in_range = int(first) <= _OCTET and (first == "0" or first[0] != "0")
    return 0 if longer or glued or not in_range else whole(match)


def ipv6(match: re.Match[str]) -> int:
    """An address by itself, no clock time or qualified name (``std::byte``); the match begins at its first colon."""
    text, end = match.string, match.end()
    start = match.start()
    while start > 0 and text[start - 1] in _HEX and match.start() - start <= _GROUP:
        start -= 1
    found = text[start:end]
    colons = _IPV6_COLONS - ("." in found)  # the last two groups may be an IPv4 address (RFC 4291, section 2.2)
    if ("::" not in found and found.count(":") != colons) or not any("0" <= char <= "9" for char in found):
        return 0
    glued = start > 0 and (text[start - 1] in ".:]" or _is_word(text, start - 1))
    if glued or text[end : end + 1] == ":" or _is_word(text, end):
        return 0
    try:
        IPv6Address(found)
    except ValueError:
        return 0
    return whole(match)


def international(match: re.Match[str]) -> int:
    """A telephone number behind ``+`` or ``00`` in any grouping, as long as its country's plan allows (ITU-T E.164)."""
    digits = match[0].translate(_NO_MARKS)
    number = digits[1:] if digits[0] == "+" else digits[3:] if digits.startswith("011") else digits[2:]
    if digits[0] != "+" and match[0].isdigit():  # any number may begin with zeros
        text, end = match.string, match.end()
        if not _is_called(text, match.start()) and not _CUE_BEHIND.match(text, end):
            return 0
    most = next((_MOST_DIGITS[code] for size in (1, 2, 3) if (code := number[:size]) in _MOST_DIGITS), 13)
    prefix = len(digits) - len(number) - (digits[0] == "+")
    return _number(match, range(prefix + 8, prefix + most + 1 + ("(0)" in match[0])))


def north_american(match: re.Match[str]) -> int:
    """Length of a telephone number with its extension; the expression decides everything."""
    return _with(_EXTENSION, match, match.end() - match.start())


def national(match: re.Match[str]) -> int:
    """A telephone number with the trunk prefix 0, in groups: nine digits to twelve."""
    groups = [group.group() for group in _DIGITS.finditer(match[0])]
    grouped = len(groups) > 1 and min(map(len, groups)) > 1
    return _number(match, _NATIONAL) if grouped else cued(match)


def cued(match: re.Match[str]) -> int:
    """Digits in any grouping that the words beside them call a telephone number."""
    text, start = match.string, match.start()
    before = _is_called(text, start)
    if not before and _IS_CUE_NEAR.match(text, match.end()) is None:
        return 0
    length = _number(match, _CUED)
    return length if length and (before or _CUE_BEHIND.match(text, start + length)) else 0


def _number(match: re.Match[str], digits: range) -> int:
    """The longest beginning of whole groups that has so many digits, and its extension.

    It does not end in the middle of what hyphens, dots or slashes join (another number's beginning), if it can end
    before that.
    """
    total, ends = len(match[0].translate(_NO_MARKS).lstrip("+")), []
    if total in digits and not _FOLLOWED.match(match.string, match.end()):
        return _with(_EXTENSION, match, whole(match))
    total = 0
    for group in _DIGITS.finditer(match[0]):
        total += len(group[0])
        if total in digits:
            ends.append(group.end())
    if not ends:
        return 0
    clear = (end for end in reversed(ends) if not _FOLLOWED.match(match.string, match.start() + end))
    return _with(_EXTENSION, match, next(clear, ends[-1]))


def _with(behind: re.Pattern[str], match: re.Match[str], length: int) -> int:
    """So much of a match, and what stands behind that."""
    found = behind.match(match.string, match.start() + length)
    return found.end() - match.start() if found else length


def _is_called(text: str, start: int) -> bool:
    """True if the words in front call it a telephone number."""
    before = text[max(start - _WINDOW, 0) : start]
    return before.rstrip(" .:=,#\n-")[-2:].lower() in _CUE_ENDS and _CUE_BEFORE.search(before) is not None


def ssn_by_cue(match: re.Match[str]) -> int:
    """Nine digits that the words in front of them call a social security number."""
    return whole(match) if _SSN_CUE.search(_before(match)) is not None else 0


def iso_date(match: re.Match[str]) -> int:
    """A day of the calendar, year first, with or without a time behind it."""
    written = match[0].partition("T")[0]
    parts = _DIGITS.findall(written)
    year, month, day = parts if len(parts) > 1 else (written[:4], written[4:6], written[6:])
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return 0
    return _with(_TIME, match, len(written))


def year_first(match: re.Match[str]) -> int:
    """A year, the name of a month and a day that a month can have."""
    return _with(_TIME, match, whole(match)) if int(_DIGITS.findall(match[0])[-1]) in _DAYS else 0


def named_month(match: re.Match[str]) -> int:
    """A day that a month can have, or no day at all."""
    day = int(re.match("[0-9]+", match[0])[0])  # type: ignore[index]  # it begins with a digit
    return _with(_TIME, match, whole(match)) if day in _DAYS or day > _LAST_DAY_OR_YEAR else 0


def month_of_any_language(match: re.Match[str]) -> int:
    """A day, a word that means a month, and a year."""
    word = re.search(r"[^\W\d_]{3,12}(?=\.?,?(?: del?)? [0-9]{4}$)", match[0])
    return named_month(match) if word is not None and word[0].lower() in _MONTH_WORDS else 0


def month_and_year(match: re.Match[str]) -> int:
    """A month in two digits and a year, as ``03/2024``, and no end of a longer number."""
    before = match.string[match.start() - 1 : match.start()]
    return whole(match) if int(match[0][:2]) in _MONTHS and before not in {"/", ".", "-", ","} else 0


def date_by_cue(match: re.Match[str]) -> int:
    """Six or eight digits that the words in front of them call a date, in any order of its parts."""
    text = match[0]
    if _NAMES_DATE.search(_before(match, _NEAR)) is None:
        return 0
    orders = ((text[:2], text[2:4]), (text[2:4], text[:2]), (text[-4:-2], text[-2:]))
    return whole(match) if any(int(month) in _MONTHS and int(day) in _DAYS for month, day in orders) else 0


def _before(match: re.Match[str], size: int = _WINDOW) -> str:
    return match.string[max(match.start() - size, 0) : match.start()]


def numeric_date(match: re.Match[str]) -> int:
    """Day and month in either order.

    Joined by dots, each in two digits, since version numbers have one, unless a year of four digits stands behind a day
    that is no month, or the words in front say that it is a date.
    """
    text = match[0]
    first, second, year = _DIGITS.findall(text)
    number, other = int(first), int(second)
    if not ((number in _MONTHS and other in _DAYS) or (number in _DAYS and other in _MONTHS)):
        return 0
    is_long = year[:2] in {"19", "20"} and len(year) == 4  # noqa: PLR2004
    sure = "/" in text or len(first) == len(second) == 2 or (is_long and ("-" in text or max(number, other) > 12))  # noqa: PLR2004
    if sure or (len(first) + len(second) == 3 and "-" in text):  # noqa: PLR2004
        return _with(_TIME, match, whole(match))
    before = _before(match, _NEAR)
    called = _NAMES_DATE.search(before) or _BEFORE_DAY.search(before)
    return _with(_TIME, match, whole(match)) if called else 0


def _is_word(text: str, position: int) -> bool:
    char = text[position : position + 1] if position >= 0 else ""
    return char.isascii() and (char.isalnum() or char == "_")
