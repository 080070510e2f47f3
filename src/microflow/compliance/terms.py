"""What to look for of one value of a record in its prose: the parts of a name, the digits of a number.

How `microflow.compliance.own` finds them, and why some are not looked for, stands there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from microflow.compliance.spelling import folded

__all__ = ["SHORTEST_PHONE", "TITLES", "WITH_DIGITS", "Terms", "terms_of"]

_PHONES, _DIGITS_ONLY = frozenset({"phone", "fax"}), frozenset({"ssn", "mrn", "pan"})
#: Kinds of which only values with a digit are looked for.
WITH_DIGITS = _PHONES | _DIGITS_ONLY | {"code"}
#: Parts of a name that are nobody's.
TITLES = frozenset("mr mrs ms miss dr prof sir mme herr frau sr sra jr md phd ii iii iv".split())  # noqa: SIM905
_PARTICLES = frozenset(
    "van von der den del de la le di da dos das du el al bin ibn abu ter ten zu zur the and of".split()  # noqa: SIM905
)
#: Given and family names that are words of everyday English, too.
_EVERYDAY = frozenset(
    """ago ails akin all amber an angel any april are art as ask at ate august autumn back baker ball bank banks be
    bell berry best bill bird bishop black blood blue bond bridges bright brook brown buck bush by call carol carter
    case cash chance chase cherry chip christian church cliff coffey cold colt cook crow crystal daisy dale dawn day
    dean dent destiny die died do down drew dry due duke dusty earl early east eat faith field fields fish foot for
    ford fox frank free gates gay gene get ginger glen go good got grace grant gray green grey guy had hand happy
    harmony has haven hazel he head heath heaven her high hill him his holder home hope hot how hunter if ill in
    iris is it its ivy jack jesus jimmy josh journey joy june justice king knight lake lance lane late let lily
    little long love low major man marina mark marsh may melody merry miles mills minor misty moon my new nick no
    noble north not old olive on one or out over page pain park pat payne pearl pepper per pierce pink pope power
    price prince put rain ran ray red reed rich rivers road rob rock rose ruby run rusty said sandy sat saw say see
    set sharp she short skip sky small snow so son south star stone stormy street strong sue summer sunny swift test
    to told top trace trinity two up us via wade walker ward was we weeks well west wet white who why wild will
    winter winters wise wolf wood woods you young""".split()  # noqa: SIM905
)
_SHORTEST_WORD, _SHORTEST, SHORTEST_PHONE, _LONGEST = 3, 5, 7, 80
#: Two letters side by side; a name of which no part has them is no word to look for.
_has_piece = re.compile(r"[^\W\d_]{2}").search
_PARTS = re.compile(r"[^\W\d_]+(?:['.-][^\W\d_]+)*", re.UNICODE)
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "ae", "Ö": "oe", "Ü": "ue", "ø": "oe", "å": "aa"})
_ASCII_DIGITS = frozenset("0123456789")


@dataclass(frozen=True, slots=True)
class Terms:
    """What to look for of one value. ``words`` tell whether they need a capital; ``compact`` are letters and digits."""

    words: tuple[tuple[str, bool], ...] = ()
    compact: tuple[str, ...] = ()
    phone: str = ""


@lru_cache(maxsize=4096)
def terms_of(kind: str, value: str) -> Terms:
    """What to look for of a value of a column of this kind."""
    value = value[:200].strip()
    if kind == "name":
        return _name(value)
    if kind == "street_address":
        return Terms(compact=_address(value))
    compact = _compact(value)
    if kind in WITH_DIGITS:
        digits = "".join(filter(_ASCII_DIGITS.__contains__, compact))
        if kind in _PHONES:
            number = digits.lstrip("0")
            return Terms(phone=number) if len(number) >= SHORTEST_PHONE else Terms()
        if kind == "code":
            return Terms(words=((folded(value).text, False),)) if digits and len(compact) >= _SHORTEST else Terms()
        compact = digits
    return Terms(compact=(compact[:_LONGEST],) if len(compact) >= _SHORTEST else ())


def _compact(value: str) -> str:
    return "".join(filter(str.isalnum, folded(value).text))


def _name(value: str) -> Terms:
    """The parts of a name as words, and the whole of it, in either order, as letters."""
    words: dict[str, bool] = {}
    parts = [part for written in {value, value.translate(_UMLAUTS)} for part in _PARTS.findall(folded(written).text)]
    for part in parts:
        pieces = {part, part.replace("'", "").replace(".", ""), *re.split("['.-]", part)}
        for word in pieces - TITLES - _PARTICLES:
            if _has_piece(word):
                words[word] = len(word) < _SHORTEST_WORD or word in _EVERYDAY
    own = [part for part in _PARTS.findall(folded(value).text) if part not in TITLES]
    for place, part in enumerate(own[:-1]):
        if part in _PARTICLES:  # with what follows it
            following = next((i for i in range(place, len(own)) if own[i] not in _PARTICLES), place)
            words.setdefault(" ".join(own[place : following + 1]), part == own[following])
    letters = ["".join(char for char in part if char.isalpha()) for part in own]
    orders = {"".join(letters), "".join([*letters[1:], *letters[:1]]), "".join([*letters[-1:], *letters[:-1]])}
    whole = tuple(sorted(name for name in orders if words and len(letters) > 1 and len(name) >= _SHORTEST - 1))
    return Terms(tuple(sorted(words.items())), whole)


def _address(value: str) -> tuple[str, ...]:
    """The street with its number, and all of it."""
    compact = [_compact(text)[:_LONGEST] for text in (value, value.partition(",")[0], value.partition("\n")[0])]
    return tuple(sorted({text for text in compact if len(text) > _SHORTEST}))
