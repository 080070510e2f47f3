"""ZIP codes whose first three digits may not be shown, because 20,000 people or fewer live there.

Source: 45 CFR 164.514(b)(2)(i)(B) with the Census 2000 ZCTA populations, as listed in the guidance of the Office for
Civil Rights (HHS, "Guidance Regarding Methods for De-identification of Protected Health Information", 2012).
"""

from __future__ import annotations

__all__ = ["RESTRICTED_ZIP3"]

RESTRICTED_ZIP3 = frozenset(
    (
        "036",
        "059",
        "063",
        "102",
        "203",
        "556",
        "692",
        "790",
        "821",
        "823",
        "830",
        "831",
        "878",
        "879",
        "884",
        "890",
        "893",
    )
)
