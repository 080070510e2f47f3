"""The words that synthetic people, places and notes are made of. No list here describes a real person."""

from __future__ import annotations

from datetime import date
from itertools import product

__all__ = [
    "CARD_PREFIXES", "DOMAINS", "FAMILY_NAMES", "GIVEN_NAMES", "LEGAL_BASES", "REFERENCE_DATE",
    "RESTRICTED_ZIP3", "URGENCY", "ZIP3", "sentences",
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
