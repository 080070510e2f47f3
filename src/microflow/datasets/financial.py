"""Bank transactions of people in the European Union under the GDPR.

Amounts depend on occupation, age and country; the urgency of a fraud alert on the amount and a transfer.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from microflow.datasets import identifiers
from microflow.datasets.draws import Draws, Flags, Floats, Integers, category, granted_or_none, maybe
from microflow.datasets.identifiers import LEGAL_BASES, REFERENCE_DATE, URGENCY, sentences
from microflow.datasets.leaks import DataType, FieldLeak, Leak, TextLeak, always, among, between, drawn, past

__all__ = ["FINANCIAL"]

_TEXT = "remarks"
_MASKS = {
    "iban": ("**** **** ****", "XX** **** ****"),
    "phone": ("*** *** ****",),
    "email": ("****",),
    "customer_name": ("xxxx xxxx", "••••"),
}

#: Member states with populations in millions, and the level of incomes beside Ireland's.
_COUNTRIES = ("IE", "FR", "DE", "NL", "BE", "ES", "IT", "PT", "AT", "PL", "CZ", "SE", "DK", "FI", "GR")
_PEOPLE = (5, 68, 84, 18, 12, 48, 59, 10, 9, 37, 11, 10, 6, 6, 10)
_LEVEL = np.array([1.0, 0.8, 0.85, 0.95, 0.9, 0.6, 0.65, 0.5, 0.9, 0.45, 0.5, 0.9, 1.1, 0.85, 0.45])
_OWN_CURRENCY = {"PL": "PLN", "CZ": "CZK", "SE": "SEK", "DK": "DKK"}
_CURRENCIES = ("EUR", "USD", "GBP", "SEK", "DKK", "PLN", "CZK")
_HOME = np.array([_CURRENCIES.index(_OWN_CURRENCY.get(country, "EUR")) for country in _COUNTRIES])

_OCCUPATIONS = (
    "clerical", "manager", "nurse", "teacher", "engineer", "retail", "driver", "student", "retired", "artist",
)  # fmt: skip
#: By age under 26, 65 and above.
_BY_AGE = np.array(
    [[8, 2, 5, 3, 5, 16, 5, 48, 0.1, 4], [16, 12, 9, 9, 12, 14, 10, 2, 2, 4], [2, 2, 1, 1, 1, 2, 1, 0.1, 90, 2]]
)
_MEDIAN = np.array([60, 140, 70, 75, 110, 45, 55, 22, 65, 40], np.float64)

_SPECIAL = ("health", "religion", "ethnicity", "union_membership", "political_opinion", "sexual_orientation")
_THIRD_COUNTRIES = ("US", "GB", "IN", "BR", "CN", "JP", "ZA")
_TRANSFER_BASES = ("adequacy", "standard_clauses", "binding_rules", "derogation")
_DAY = timedelta(days=1)
#: Ten years before the reference date.
_KEPT_SINCE = REFERENCE_DATE - 3_653 * _DAY

_REMARKS = sentences(
    ("Card payment", "Standing order", "Online transfer", "Cash withdrawal", "Direct debit"),
    ("groceries", "rent", "a subscription", "travel", "insurance", "savings"),
    ("booked as usual", "customer informed", "reviewed by a colleague", "limit unchanged", "receipt on file"),
)


def _clean(draws: Draws) -> dict[str, pa.Array]:
    """Rows without a violation, all columns but the record id."""
    rows = draws.rows
    age = (18 + np.minimum(draws.rng.gamma(3.0, 11.0, rows), 82)).astype(np.int64)
    country = draws.weighted(_PEOPLE)
    job = draws.grouped(np.searchsorted([26, 65], age, side="right"), _BY_AGE)
    amount = draws.lognormal(_MEDIAN[job] * _LEVEL[country] * (0.7 + age / 120), 1.1)
    third = draws.hits(0.08)
    basis = draws.weighted((45, 35, 10, 1, 2, 7))
    consent = granted_or_none(draws, basis == 0)
    granted = ~np.asarray(consent.is_null())
    return {
        "customer_ref": draws.codes(1_000_000, salt=11),
        "account_ref": draws.codes(1_300_000, salt=12),
        "transaction_ref": draws.codes(),
        "merchant_ref": draws.codes(50_000, salt=13),
        "terminal_ref": draws.codes(80_000, salt=14),
        **dict.fromkeys(("customer_name", "iban", "email", "phone"), pa.nulls(rows, pa.string())),
        "age": pa.array(age),
        "country": category(_COUNTRIES, country),
        "occupation": category(_OCCUPATIONS, job),
        "amount": pa.array(np.round(np.clip(amount, 0.5, 50_000), 2)),
        "currency": category(_CURRENCIES, np.where(draws.hits(0.9), _HOME[country], draws.below(3))),
        "fraud_alert": category(URGENCY, _alert(draws, amount + 400 * third)),
        "legal_basis": category(LEGAL_BASES, basis),
        "consent": consent,
        "consent_expires": _expiry(draws, basis == 0),
        "collected_on": draws.days(_KEPT_SINCE, REFERENCE_DATE - _DAY),
        "retain_until": draws.days(REFERENCE_DATE, date(2032, 12, 31)),
        "special_category": maybe(category(_SPECIAL, draws.below(len(_SPECIAL))), granted & draws.hits(0.06)),
        **_transfer(draws, third),
        _TEXT: maybe(category(_REMARKS, draws.below(len(_REMARKS))), draws.hits(0.6)),
    }


def _alert(draws: Draws, exposure: Floats) -> Integers:
    """The larger the exposure, the likelier a human has to look, and at once."""
    score = np.log1p(exposure) / 10 + 0.25 * draws.rng.standard_normal(draws.rows)
    return np.searchsorted([0.85, 1.05], score)


def _expiry(draws: Draws, by_consent: Flags) -> pa.Array:
    """Consent that is relied on has not expired; where it is not, an old one may stand in the records."""
    valid = draws.days(REFERENCE_DATE, date(2029, 12, 31))
    old = maybe(draws.days(date(2019, 1, 1), date(2028, 12, 31)), draws.hits(0.3))
    return pc.if_else(pa.array(by_consent), valid, old)


def _transfer(draws: Draws, third: Flags) -> dict[str, pa.Array]:
    """Transfers inside the Union need no basis; those to third countries have one."""
    outside = category(_THIRD_COUNTRIES, draws.below(len(_THIRD_COUNTRIES)))
    inside = maybe(category(_COUNTRIES, draws.weighted(_PEOPLE)), draws.hits(0.3))
    bases = category(_TRANSFER_BASES, draws.weighted((50, 35, 10, 5)))
    return {
        "transfer_country": pc.if_else(pa.array(third), outside, inside),
        "transfer_basis": maybe(bases, third),
    }


_NO_CONSENT = {"legal_basis": always("contract"), "consent": always(None)}
_LEAKS: tuple[Leak, ...] = (
    FieldLeak("gdpr-name", {"customer_name": drawn(identifiers.names)}, weight=7),
    FieldLeak("gdpr-email", {"email": drawn(identifiers.emails)}, weight=7),
    FieldLeak("gdpr-phone", {"phone": drawn(identifiers.phones)}, weight=7),
    FieldLeak("gdpr-account", {"iban": drawn(identifiers.ibans)}, weight=8),
    FieldLeak("gdpr-legal-basis", {"legal_basis": always(None)}, weight=7),
    FieldLeak(
        "gdpr-consent-missing",
        {"consent": always(None)},
        {"legal_basis": always("consent"), "consent_expires": always(None), "special_category": always(None)},
        weight=8,
    ),
    FieldLeak("gdpr-consent-withdrawn", {"consent": always("withdrawn")}, {"special_category": always(None)}, weight=7),
    FieldLeak(
        "gdpr-consent-expired",
        {"consent_expires": past(2018)},
        {"legal_basis": always("consent"), "consent": always("granted")},
        weight=7,
    ),
    FieldLeak("gdpr-retention", {"retain_until": past(2018)}, weight=8),
    FieldLeak("gdpr-storage", {"collected_on": between(date(2008, 1, 1), _KEPT_SINCE - _DAY)}, weight=4),
    FieldLeak("gdpr-special-category", {"special_category": among(_SPECIAL)}, _NO_CONSENT, weight=6),
    FieldLeak(
        "gdpr-transfer", {"transfer_country": among(_THIRD_COUNTRIES)}, {"transfer_basis": always(None)}, weight=7
    ),
    TextLeak("gdpr-text-email", _TEXT, identifiers.emails, weight=4),
    TextLeak("gdpr-text-phone", _TEXT, identifiers.phones, weight=4),
    TextLeak("gdpr-text-card", _TEXT, identifiers.cards, weight=3),
    TextLeak("gdpr-text-iban", _TEXT, identifiers.ibans, weight=3),
    TextLeak("gdpr-text-ip", _TEXT, identifiers.ips, weight=2),
)

FINANCIAL = DataType(_clean, _LEAKS, _MASKS, _TEXT)
