"""How much of a proposed match is an identifier: check digits, ranges, and what stands around it."""

from __future__ import annotations

import re
from datetime import date
from ipaddress import IPv6Address

__all__ = [
    "card",
    "day_and_month",
    "email",
    "iban",
    "ipv4",
    "ipv6",
    "iso_date",
    "luhn",
    "phone",
    "slash_date",
    "url",
    "whole",
]

# What a digit's character code adds to Luhn's sum, as it is and doubled (the digits of the product added).
_VALUE = bytes(max(code - 48, 0) for code in range(256))
_DOUBLED = bytes(sum(divmod(2 * (code - 48), 10)) if 48 <= code < 58 else 0 for code in range(256))  # noqa: PLR2004
_CARD_LENGTHS = range(13, 20)
_CARD_STARTS = frozenset("23456")
_CARD_MARKS = " .-"
_PHONE_DIGITS = range(8, 16)
_ISO_DATE_LENGTH = 10
_OCTET = 255
_IPV6_COLONS = 7
_HEX, _GROUP = frozenset("0123456789ABCDEFabcdef"), 4
_SCHEME = re.compile(r"\b(?:https?|ftp)$", re.ASCII | re.IGNORECASE)
_LONGEST_SCHEME = 6
_MONTHS, _DAYS = range(1, 13), range(1, 32)

#: Lengths by country, ISO 13616 registry: Europe. Others are taken as long as they were written.
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI NL", 19: "SI", 20: "AT EE LT LU", 21: "CH HR LI LV", 22: "BG DE GB IE ME RS",
        23: "GI", 24: "CZ ES RO SE SK", 25: "PT", 26: "IS", 27: "FR GR IT MC SM", 28: "CY HU PL", 31: "MT",
    }.items()
    for country in countries.split()
}  # fmt: skip


def whole(match: re.Match[str]) -> int:
    """All of it: the expression says everything."""
    return match.end() - match.start()


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    codes = digits.encode()[::-1]
    return (sum(codes[::2].translate(_VALUE)) + sum(codes[1::2].translate(_DOUBLED))) % 10 == 0


def card(match: re.Match[str]) -> int:
    """A payment card number; a security code written after it does not belong to it."""
    text = match[0]
    if _is_card(text):
        return len(text)
    shorter = text[: text.rfind(text[4])] if text[4] in _CARD_MARKS else ""
    return len(shorter) if _is_card(shorter) else 0


def _is_card(text: str) -> bool:
    digits = text.replace(" ", "").replace("-", "").replace(".", "")
    return len(digits) in _CARD_LENGTHS and digits[0] in _CARD_STARTS and luhn(digits)


def email(match: re.Match[str]) -> int:
    """A top-level domain is no number and longer than a letter (``5@3.50`` is a price)."""
    top = match[0].rpartition(".")[2]
    return len(match[0]) if len(top) > 1 and not top.isdigit() else 0


def iban(match: re.Match[str]) -> int:
    """ISO 13616: rotate four characters, letters count from ten, the remainder modulo 97 is one."""
    text = match[0]
    ends = [i + 1 for i, char in enumerate(text) if char != " "]
    length = _IBAN_LENGTHS.get(text[:2], len(ends))
    if length > len(ends) or _is_word(match.string, match.start() + ends[length - 1]):
        return 0
    compact = text.replace(" ", "")[:length]
    number = int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4]))
    return ends[length - 1] if number % 97 == 1 else 0


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
    if ("::" not in found and found.count(":") != _IPV6_COLONS) or not any("0" <= char <= "9" for char in found):
        return 0
    glued = start > 0 and (text[start - 1] in ".:]" or _is_word(text, start - 1))
    alone = not glued and text[end : end + 1] != ":" and not _is_word(text, end)
    return whole(match) if alone and _is_ipv6(found) else 0


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def url(match: re.Match[str]) -> int:
    """What stands before ``://`` is a scheme of the web."""
    start = match.start()
    return whole(match) if _SCHEME.search(match.string[max(start - _LONGEST_SCHEME, 0) : start]) else 0


def phone(match: re.Match[str]) -> int:
    """As many digits as ITU-T E.164 allows."""
    return len(match[0]) if sum("0" <= char <= "9" for char in match[0]) in _PHONE_DIGITS else 0


def iso_date(match: re.Match[str]) -> int:
    """A day of the calendar, with or without a time behind it."""
    try:
        date.fromisoformat(match[0][:_ISO_DATE_LENGTH])
    except ValueError:
        return 0
    return _ISO_DATE_LENGTH


def day_and_month(match: re.Match[str]) -> int:
    """A day that a month can have."""
    return whole(match) if int(match[0].partition(" ")[0]) in _DAYS else 0


def slash_date(match: re.Match[str]) -> int:
    """Day and month in either order."""
    first, second, _ = match[0].split("/")
    one, other = int(first), int(second)
    possible = (one in _MONTHS and other in _DAYS) or (one in _DAYS and other in _MONTHS)
    return len(match[0]) if possible else 0


def _is_word(text: str, position: int) -> bool:
    char = text[position : position + 1] if position >= 0 else ""
    return char.isascii() and (char.isalnum() or char == "_")
