"""Identifiers that look real and belong to no person, and the words that generated records are made of.

Numbers are drawn from ranges reserved for examples where there are any: 555-01xx telephone numbers, RFC 5737 and RFC
3849 addresses, RFC 2606 domains. Card numbers and IBANs have right check digits (ISO/IEC 7812-1, ISO 13616).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import date, timedelta
from itertools import product

from microflow.datasets.draws import Draws

__all__ = [
    "CARD_PREFIXES", "DOMAINS", "FAMILY_NAMES", "GIVEN_NAMES", "LEGAL_BASES", "REFERENCE_DATE", "RESTRICTED_ZIP3",
    "URGENCY", "ZIP3", "Identifiers", "cards", "cvvs", "emails", "fine_dates", "ibans", "ips", "look_alikes", "mrns",
    "names", "phones", "sentences", "serials", "ssns", "text_dates", "urls",
]  # fmt: skip


#: The reference date of the shipped policies: what must be kept until then is not yet expired.
REFERENCE_DATE = date(2026, 1, 1)

URGENCY = ("routine", "urgent", "emergency")

LEGAL_BASES = ("consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests")

GIVEN_NAMES = (
    "Aoife", "Siobhán", "Niamh", "Ciarán", "Liam", "Emma", "Noah", "Olivia", "José", "María", "Zoë", "Jürgen",
    "Anke", "Łukasz", "Zofia", "Björn", "Astrid", "Chloé", "François", "Giulia", "Marco", "Nikos", "Eleni", "Ahmed",
    "Fatima", "Wei", "Mei", "Arjun", "Priya", "Kwame", "Amara", "Yuki", "Hana", "Ivan", "Olga", "Tomáš", "Petra",
    "Sven", "Ingrid", "Daniel", "Grace", "Samuel", "Ruth", "Peter", "Helen", "Oscar", "Nora", "Hugo",
)  # fmt: skip

FAMILY_NAMES = (
    "Murphy", "O'Brien", "Kelly", "Byrne", "Walsh", "Smith", "Johnson", "Williams", "García", "Fernández", "Müller",
    "Schmidt", "Weiß", "Kowalski", "Nowak", "Andersson", "Lindqvist", "Dubois", "Lefèvre", "Rossi", "Ferrari",
    "Papadopoulos", "Haddad", "Rahman", "Chen", "Nguyen", "Patel", "Singh", "Mensah", "Okafor", "Tanaka", "Sato",
    "Petrov", "Novák", "Dvořák", "Hansen", "Nielsen", "Virtanen", "Silva", "Costa", "Brown", "Taylor", "Evans",
    "Campbell", "Stewart", "Fitzgerald", "Ní Dhomhnaill", "van Dijk",
)  # fmt: skip
#: Reserved for examples (RFC 2606, RFC 6761): no mail will ever arrive there. One is internationalised (RFC 6531).
DOMAINS = ("example.org", "example.com", "mail.example.net", "clinic.example", "bücher.example", "post.example.org")

CARD_PREFIXES = ("4", "51", "53", "55", "2221", "34", "37", "6011")

#: Three-digit ZIP codes of large areas, with weights in the proportion of their populations (thousands, rounded).
ZIP3 = {
    "100": 1570, "112": 2500, "104": 1430, "113": 1080, "606": 2700, "900": 2400, "917": 1900, "770": 2600,
    "750": 1500, "752": 1300, "782": 1500, "787": 1000, "331": 1900, "330": 1500, "327": 1000, "336": 700,
    "303": 1000, "300": 2100, "191": 1550, "190": 1100, "021": 900, "024": 300, "200": 690, "208": 900, "212": 620,
    "282": 870, "275": 700, "372": 680, "432": 900, "441": 700, "462": 830, "481": 900, "482": 670, "532": 590,
    "554": 800, "631": 700, "641": 480, "701": 390, "731": 560, "802": 720, "841": 640, "850": 1500, "852": 1400,
    "871": 560, "891": 1500, "920": 1200, "921": 1300, "926": 1000, "941": 870, "945": 1300, "951": 1000, "958": 700,
    "972": 680, "981": 740, "980": 1000, "967": 400, "995": 290, "590": 140, "577": 130, "040": 250, "054": 120,
    "829": 60, "838": 180, "597": 60,
}  # fmt: skip
#: Some of those that may not be shown, because 20,000 people or fewer live there (45 CFR 164.514(b)(2)(i)(B)).
RESTRICTED_ZIP3 = ("036", "059", "102", "203", "692", "821", "878", "893")


def sentences(*parts: tuple[str, ...]) -> list[str]:
    """Every combination of the parts, as sentences without anything that identifies.

    >>> sentences(("Seen today",), ("no fever", "mild fever"))
    ['Seen today, no fever.', 'Seen today, mild fever.']
    """
    return [f"{', '.join(chosen)}." for chosen in product(*parts)]


#: Draws one value for each row.
Identifiers = Callable[[Draws], list[str]]

_MONTHS = ("January", "Feb", "March", "Apr", "May", "June", "July", "Aug", "September", "Oct", "Nov", "December")

_PHONE_FORMS = (
    "({0}) 555-01{1}", "{0}-555-01{1}", "{0}.555.01{1}", "+1 {0} 555 01{1}", "+1-{0}-555-01{1}", "+353 86 555 01{1}",
    "+49 30 5550 01{1}",
)  # fmt: skip

_IP_FORMS = (
    "192.0.2.{0}", "198.51.100.{0}", "203.0.113.{0}", "2001:db8::{0:x}:1", "2001:db8:85a3:8d3:1319:8a2e:370:{0:x}",
)  # fmt: skip
_MRN_FORMS = ("MRN {0}", "MRN: {0}", "mrn#{0}", "MRN-{0}")
#: Country, the account's fixed beginning, how many digits follow. No card number begins with 9 as these sort codes do.
_BANKS = (("IE", "AIBK9", 13), ("IE", "BOFI9", 13), ("NL", "ABNA", 10))

_AMEX_DIGITS, _CARD_DIGITS = 15, 16


def names(draws: Draws) -> list[str]:
    """Given and family name."""
    pairs = zip(draws.words(GIVEN_NAMES), draws.words(FAMILY_NAMES), strict=True)
    return [f"{given} {family}" for given, family in pairs]


def emails(draws: Draws) -> list[str]:
    """Plain, with a plus tag, and at an internationalised domain."""
    tags = draws.words(("", "", "", "+shop", "+clinic.2024"))
    parts = zip(draws.words(GIVEN_NAMES), draws.words(FAMILY_NAMES), tags, draws.words(DOMAINS), strict=True)
    return [f"{_ascii(given)}.{_ascii(family)}{tag}@{domain}" for given, family, tag, domain in parts]


def phones(draws: Draws) -> list[str]:
    """North American in five spellings, Irish and German."""
    areas = (2 + draws.below(8)) * 100 + draws.below(100)
    ends = draws.digits(2)
    forms = draws.words(_PHONE_FORMS)
    return [form.format(area, end) for form, area, end in zip(forms, areas.tolist(), ends, strict=True)]


def ssns(draws: Draws) -> list[str]:
    """Social security numbers of assigned areas (not 000, 666 or 9xx), with hyphens and with blanks."""
    areas = 100 + draws.below(500)
    groups, serials = 1 + draws.below(99), 1 + draws.below(9_999)
    parts = zip(draws.words("--- "), areas.tolist(), groups.tolist(), serials.tolist(), strict=True)
    return [f"{area:03d}{mark}{group:02d}{mark}{serial:04d}" for mark, area, group, serial in parts]


def cards(draws: Draws) -> list[str]:
    """Fifteen or sixteen digits with a right check digit: together, in groups of four, with hyphens."""
    parts = zip(draws.words(CARD_PREFIXES), draws.digits(_CARD_DIGITS), draws.words(("", "", " ", "-")), strict=True)
    return [_grouped(_card(prefix, digits), mark) for prefix, digits, mark in parts]


def cvvs(draws: Draws) -> list[str]:
    """Three digits."""
    return draws.digits(3)


def ibans(draws: Draws) -> list[str]:
    """Irish and Dutch, together and in groups of four."""
    parts = zip(draws.words(_BANKS), draws.digits(13), draws.words(("", " ")), strict=True)
    return [_grouped(_iban(country, bank + digits[:width]), mark) for (country, bank, width), digits, mark in parts]


def ips(draws: Draws) -> list[str]:
    """Version 4 and version 6, whole and compressed."""
    hosts = 1 + draws.below(254)
    return [form.format(host) for form, host in zip(draws.words(_IP_FORMS), hosts.tolist(), strict=True)]


def urls(draws: Draws) -> list[str]:
    """A personal page."""
    starts = draws.words(("https://portal.example.org/p/", "http://clinic.example/record?id=", "www.example.com/u/"))
    return [start + digits for start, digits in zip(starts, draws.digits(7), strict=True)]


def mrns(draws: Draws) -> list[str]:
    """Seven digits behind the letters MRN."""
    forms = draws.words(_MRN_FORMS)
    return [form.format(digits) for form, digits in zip(forms, draws.digits(7), strict=True)]


def serials(draws: Draws) -> list[str]:
    """A device's serial number."""
    return [f"SN-{digits}" for digits in draws.digits(10)]


def fine_dates(draws: Draws) -> list[str]:
    """ISO dates to the day, and to the month."""
    days = zip(_days(draws), draws.hits(0.1).tolist(), strict=True)
    return [day.isoformat()[: 7 if cut else None] for day, cut in days]


def text_dates(draws: Draws) -> list[str]:
    """A day as ISO 8601, American and European prose write it."""
    found = []
    for day, form in zip(_days(draws), draws.below(3).tolist(), strict=True):
        american, european = f"{day.month}/{day.day}/{day.year}", f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
        found.append((day.isoformat(), american, european)[form])
    return found


def _days(draws: Draws) -> list[date]:
    return [REFERENCE_DATE - timedelta(days=1 + n) for n in draws.below(3_650).tolist()]


def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.lower().replace("ß", "ss").replace("ł", "l"))
    return "".join(char for char in plain if char.isascii() and char.isalpha())


def _card(prefix: str, digits: str) -> str:
    length = _AMEX_DIGITS if prefix in {"34", "37"} else _CARD_DIGITS
    body = (prefix + digits)[: length - 1]
    return body + str(-_luhn_sum(body + "0") % 10)


def _luhn_sum(number: str) -> int:
    """ISO/IEC 7812-1: every second digit from the right doubled, the digits of the products added."""
    return sum(sum(divmod(int(digit) * (1 + i % 2), 10)) for i, digit in enumerate(reversed(number)))


def _iban(country: str, account: str) -> str:
    """ISO 13616: the check digits that make the rotated number 1 modulo 97."""
    number = "".join(str(int(char, 36)) for char in f"{account}{country}00")
    return f"{country}{98 - int(number) % 97:02d}{account}"


def _grouped(text: str, mark: str) -> str:
    return mark.join(text[i : i + 4] for i in range(0, len(text), 4))


def look_alikes(draws: Draws) -> list[str]:
    """Texts that a careless pattern takes for identifiers, but no shipped policy does."""
    forms = draws.words(_LOOK_ALIKES)
    cells = zip(forms, draws.digits(9), draws.digits(4), strict=True)
    return [form.format(nine=nine, four=four, wrong=_wrong_card(nine)) for form, nine, four in cells]


def _wrong_card(nine: str) -> str:
    """Sixteen digits whose check digit is one off."""
    right = _card("4", nine + "123456")
    return right[:-1] + str((int(right[-1]) + 1) % 10)


_LOOK_ALIKES = (
    "Order {nine} was returned.", "Batch {wrong} is complete.", "Firmware v2.10.3 installed.", "See form 1.2.2021.",
    "Card 411111******1111 on file.", "SSN ***-**-{four} on file.", "SSN XXX-XX-XXXX on file.",
    "Reference 000-12-{four} is void.", "Reference 666-12-{four} is void.", "Reference 987-65-{four} is void.",
    "Blood pressure 120/80 at rest.", "Measured at 12:30:45 twice.", "Host 999.300.1.1 does not exist.",
    "Meet @ noon, reply@once.", "Form 2021-13-45 is void.", "Room 3-{four}, bed 12.", "Since 2019, ratio 16:9.",
    "Account IE00 AIBK 9311 5212 3456 78 is void.", "MRN pending.", "Rated 4.5 of 5.0 by 1,234 users.",
)  # fmt: skip
