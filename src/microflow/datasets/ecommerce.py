"""A shop's card orders under PCI DSS: what is bought depends on age and sex, what it costs on what is bought."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from microflow.datasets import identifiers
from microflow.datasets.draws import Draws, category, granted_or_none, maybe
from microflow.datasets.identifiers import CARD_PREFIXES, REFERENCE_DATE, URGENCY, ZIP3, sentences
from microflow.datasets.leaks import DataType, FieldLeak, Leak, TextLeak, always, drawn, past

__all__ = ["ECOMMERCE"]

_TEXT = "comments"
_MASKS = {"cvv": ("***", "XXX"), "email": ("****",), "customer_name": ("xxxx xxxx", "••••")}

_CATEGORIES = (
    "books", "clothing", "electronics", "garden", "groceries", "health", "music", "sport", "toys", "travel",
)  # fmt: skip
#: By age under 25, 45, 65 and above; then the same for men.
_BY_AGE_AND_SEX = np.array(
    [
        [10, 30, 10, 1, 8, 8, 10, 10, 5, 8], [9, 20, 10, 5, 16, 9, 3, 8, 14, 8],
        [12, 16, 9, 12, 18, 12, 3, 4, 6, 10], [14, 9, 6, 14, 22, 20, 2, 1, 6, 8],
        [6, 14, 32, 1, 8, 4, 10, 18, 6, 6], [7, 10, 26, 5, 14, 5, 4, 14, 10, 8],
        [9, 8, 20, 14, 16, 8, 5, 8, 4, 10], [12, 6, 12, 16, 22, 16, 3, 2, 4, 8],
    ]
)  # fmt: skip
_MEDIAN = np.array([22, 55, 180, 60, 48, 35, 25, 70, 38, 420], np.float64)
#: Postcodes of one country's style: a three-digit area, then one of a few sorting offices in it.
_POSTCODES = [f"{area}{office:02d}" for area in ZIP3 for office in (1, 7, 15, 29)]
_POSTCODE_WEIGHTS = [weight / share for weight in ZIP3.values() for share in (2, 4, 6, 12)]

_COMMENTS = sentences(
    ("Gift wrap please", "Leave with a neighbour", "Second order this month", "Returned once", "Voucher used"),
    ("deliver in the morning", "ring twice", "no plastic", "size was right", "colour differs slightly"),
    ("thank you", "very quick", "would buy again", "box was damaged", "call centre was friendly"),
)


def _clean(draws: Draws) -> dict[str, pa.Array]:
    """Rows without a violation, all columns but the record id."""
    age = (16 + np.minimum(draws.rng.gamma(3.2, 8.5, draws.rows), 84)).astype(np.int64)
    sex = draws.weighted((52, 47, 1))
    bought = draws.grouped(np.searchsorted([25, 45, 65], age, side="right") + 4 * (sex == 1), _BY_AGE_AND_SEX)
    value = draws.lognormal(_MEDIAN[bought] * (0.8 + age / 150), 0.7)
    return {
        "customer_ref": draws.codes(1_500_000, salt=21),
        "order_ref": draws.codes(),
        "session_ref": draws.codes(),
        "payment_ref": draws.codes(),
        "device_ref": draws.codes(1_800_000, salt=22),
        "customer_name": pa.nulls(draws.rows, pa.string()),
        "card_number": _masked_cards(draws),
        "cvv": pa.nulls(draws.rows, pa.string()),
        "email": pa.nulls(draws.rows, pa.string()),
        "age": pa.array(age),
        "sex": category(("F", "M", "X"), sex),
        "postcode": category(_POSTCODES, draws.weighted(_POSTCODE_WEIGHTS)),
        "basket_value": pa.array(np.round(np.clip(value, 1, 5_000), 2)),
        "category": category(_CATEGORIES, bought),
        "delivery": category(URGENCY, draws.grouped((bought == _CATEGORIES.index("groceries")).astype(int), _DELIVERY)),
        "consent": granted_or_none(draws, draws.hits(0.9)),
        "retain_until": draws.days(REFERENCE_DATE, date(2030, 12, 31)),
        _TEXT: maybe(category(_COMMENTS, draws.below(len(_COMMENTS))), draws.hits(0.4)),
    }


_DELIVERY = np.array([[88, 10, 2], [60, 32, 8]])


def _masked_cards(draws: Draws) -> pa.Array:
    """First six and last four digits, as requirement 3.4.1 allows."""
    starts = [f"{prefix}{rest:05d}"[:6] + "******" for prefix in CARD_PREFIXES for rest in (12_345, 40_871, 77_003)]
    ends = [f"{n:04d}" for n in range(10_000)]
    first = category(starts, draws.below(len(starts)))
    return pc.binary_join_element_wise(first, category(ends, draws.below(len(ends))), "")


_LEAKS: tuple[Leak, ...] = (
    FieldLeak("pci-pan", {"card_number": drawn(identifiers.cards)}, weight=14, spans=True),
    FieldLeak("pci-cvv", {"cvv": drawn(identifiers.cvvs)}, weight=10),
    FieldLeak("pci-name", {"customer_name": drawn(identifiers.names)}, weight=9),
    FieldLeak("pci-email", {"email": drawn(identifiers.emails)}, weight=9),
    FieldLeak("pci-retention", {"retain_until": past(2018)}, weight=7),
    FieldLeak("pci-consent-withdrawn", {"consent": always("withdrawn")}, weight=7),
    TextLeak("pci-text-pan", _TEXT, identifiers.cards, weight=7),
    TextLeak("pci-text-email", _TEXT, identifiers.emails, weight=5),
    TextLeak("pci-text-phone", _TEXT, identifiers.phones, weight=5),
)

ECOMMERCE = DataType(_clean, _LEAKS, _MASKS, _TEXT)
