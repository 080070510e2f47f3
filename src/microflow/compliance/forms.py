r"""Identifiers that a policy adds to the patterns: written in a form, with a check digit, without a line of Python.

A *form* is a small part of the syntax of regular expressions: characters, marks behind ``\``, classes such as
``[0-9A-Z]``, and behind each of them ``?``, ``{6}`` or ``{6,8}``. It has no groups, no alternatives and no ``*``: it
takes time linear in the text. It begins with a letter, digit or mark that is always there, and holds a digit. What is
found is not glued to a letter or digit. A *checksum* is a module of python-stdnum: ``luhn``, ``verhoeff``,
``iso7064.mod_97_10``, ``de.idnr``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from itertools import groupby
from math import prod
from typing import Literal

from microflow.compliance.patterns import Pattern

__all__ = ["COUNTRIES", "Forms", "national_forms", "own_forms", "pattern_of"]

#: How an identifier may be written, each with the checksum that it must have, if any.
Forms = tuple[tuple[str, str], ...]

#: Longest form, in characters; and in how many ways its repetitions may be divided.
_LONGEST, _MOST_WAYS = 40, 1_000
_ITEM = re.compile(r"(\\[^\w\s]|\[[A-Za-z0-9 ./:#_-]+\]|[A-Za-z0-9 /:#_-])(\?|\{([0-9]{1,2})(?:,([0-9]{1,2}))?\})?")
_CHECKSUM = re.compile(r"[a-z_0-9]+(?:\.[a-z_0-9]+)?")
_PRINTABLE = [chr(code) for code in range(32, 127)]
_DIGITS = frozenset("0123456789")
_END = "(?![0-9A-Za-z])"
#: Between two characters of a national number.
_SEPARATOR = "[ ./-]?"

#: The numbers of persons that python-stdnum knows how to check, by country: modules, and what a number is made of
#: (``9`` a digit, ``A`` a letter, ``X`` either, ``*`` the mark of a Finnish century; ``?`` behind what may be missing).
_NATIONAL: dict[str, dict[str, str]] = {
    "AT": {"vnr": "9" * 10}, "AU": {"tfn": "9" * 9}, "BE": {"nn": "9" * 11}, "BG": {"egn": "9" * 10},
    "BR": {"cpf": "9" * 11}, "CA": {"sin": "9" * 9}, "CH": {"ssn": "9" * 13}, "CL": {"rut": "9999999XX?"},
    "CN": {"ric": "9" * 17 + "X"}, "CZ": {"rc": "9" * 9 + "9?"}, "DE": {"idnr": "9" * 11}, "DK": {"cpr": "9" * 10},
    "EE": {"ik": "9" * 11}, "ES": {"dni": "99999999A", "nie": "A9999999A"}, "FI": {"hetu": "999999*999X"},
    "FR": {"nir": "99999XX99999999", "nif": "9" * 13}, "GB": {"nhs": "9" * 10}, "GR": {"amka": "9" * 11},
    "HR": {"oib": "9" * 11}, "IE": {"pps": "9999999AA?"}, "IL": {"idnr": "9" * 8 + "9?"},
    "IN": {"aadhaar": "9" * 12, "pan": "AAAAA9999A"},
    "IS": {"kennitala": "9" * 10}, "IT": {"codicefiscale": "AAAAAAXXAXXAXXXA"}, "KR": {"rrn": "9" * 13},
    "LT": {"asmens": "9" * 11}, "MX": {"curp": "AAAA999999AAAAAAX9"}, "NL": {"bsn": "9" * 9},
    "NO": {"fodselsnummer": "9" * 11}, "NZ": {"ird": "9" * 8 + "9?"}, "PL": {"pesel": "9" * 11},
    "PT": {"cc": "999999999XX9"},
    "RO": {"cnp": "9" * 13}, "SE": {"personnummer": "9" * 10 + "9?9?"}, "SI": {"emso": "9" * 13},
    "SK": {"rc": "9" * 9 + "9?"}, "TH": {"pin": "9" * 13}, "TR": {"tckimlik": "9" * 11}, "ZA": {"idnr": "9" * 13},
}  # fmt: skip
COUNTRIES = tuple(_NATIONAL)
_CLASS = {"9": "[0-9]", "A": "[A-Za-z]", "X": "[A-Za-z0-9]", "*": "[A-FU-Y+-]"}


def national_forms(country: str) -> Forms:
    """Written forms of the personal numbers of a country (of `COUNTRIES`).

    >>> national_forms("DE")
    (('[0-9](?:[ ./-]?[0-9]){10}', 'de.idnr'),)
    """
    package = {"IN": "in_", "IS": "is_"}.get(country, country.lower())
    forms = []
    for module, made_of in _NATIONAL[country].items():
        first, *others = re.findall(r".\??", made_of)
        written = _CLASS[first[0]] + first[1:]
        for item, number in ((item, len(list(alike))) for item, alike in groupby(others)):
            each = _CLASS[item[0]] if item == "A?" else f"{_SEPARATOR}{_CLASS[item[0]]}"
            written += f"(?:{each})?" * number if len(item) > 1 else f"(?:{each}){{{number}}}" if number > 1 else each
        forms.append((written, f"{package}.{module}"))
    return tuple(forms)


def own_forms(form: str, checksum: str) -> Forms:
    """Written forms that a policy states, checked.

    Raises:
        ValueError: the form or the checksum cannot be used; says why.
    """
    items = _items(form)
    if checksum and (not _CHECKSUM.fullmatch(checksum) or _checker(checksum) is None):
        raise ValueError("python-stdnum has no such checksum; examples are: luhn, verhoeff, iso7064.mod_97_10, de.idnr")
    written = "".join(item + (f"{{{least},{most}}}" if (least, most) != (1, 1) else "") for item, least, most in items)
    return ((written, checksum),)


def _items(form: str) -> list[tuple[str, int, int]]:
    """The characters of a form, each with how often it may be there."""
    items, position = [], 0
    while position < len(form):
        found = _ITEM.match(form, position)
        if found is None:
            raise ValueError("a form is made of characters, classes such as [0-9A-Z], and behind each ?, {3} or {3,8}")
        least = 0 if found[2] == "?" else int(found[3] or 1)
        most = 1 if found[2] == "?" else int(found[4] or found[3] or 1)
        if "--" in found[1]:
            raise ValueError("a class of a form holds each mark once")
        try:
            re.compile(found[1])
        except re.error as error:
            raise ValueError("a class of a form holds characters and ranges, such as [0-9A-Z]") from error
        items.append((found[1], least, most))
        position = found.end()
    if not items or items[0][1] < 1 or not any(least and _chars(item) <= _DIGITS for item, least, _ in items):
        raise ValueError("a form begins with what is always there, and holds a digit")
    if any(most < max(least, 1) for _, least, most in items) or sum(most for *_, most in items) > _LONGEST:
        raise ValueError(f"a form has at most {_LONGEST} characters")
    if prod(most - least + 1 for _, least, most in items) > _MOST_WAYS:
        raise ValueError("a form has too many repetitions that vary")
    if len({char.isalnum() for char in _chars(items[0][0])}) > 1:
        raise ValueError("a form begins with letters and digits, or with marks")
    return items


def _chars(item: str) -> frozenset[str]:
    return frozenset(char for char in _PRINTABLE if re.fullmatch(item, char))


def pattern_of(name: str, form: str, checksum: str) -> Pattern:
    """A form as a pattern of this name, for the scanner.

    Its first character stands apart, and it is in the spelling that is searched (``_`` is a grave accent).
    """
    head = re.match(r"(\\.|\[[^\]]+\]|.)(?:\{([0-9]+),([0-9]+)\})?", form)
    assert head is not None
    again = f"{head[1]}{{{int(head[2]) - 1},{int(head[3]) - 1}}}" if head[2] else ""
    first = "".join(sorted(re.sub(r"([\]\\^-])", r"\\\1", char) for char in _chars(head[1]))).replace("_", "`")
    at: Literal["word", "mark"] = "word" if head[1] and next(iter(_chars(head[1]))).isalnum() else "mark"
    rest = f"{again}{form[head.end() :]}".replace("_", "`")
    checker = _checker(checksum) if checksum else None

    def checked(match: re.Match[str]) -> int:
        """All of a match whose check digits are right."""
        compact = "".join(filter(str.isalnum, match[0]))
        right = checker is None or checker(match[0].replace("`", "_")) or checker(compact)
        return len(match[0]) if right else 0

    return Pattern(name, first, f"{rest}{_END}", checked, at=at, hint=form.replace(" ", r"[ \t]"))


@lru_cache
def _checker(checksum: str) -> Callable[[str], bool] | None:
    try:
        return getattr(import_module(f"stdnum.{checksum}"), "is_valid", None)
    except ImportError:
        return None
