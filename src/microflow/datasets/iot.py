"""Located readings of wearables under the GDPR: people live in towns, move by day, and hearts beat faster at speed."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from microflow.datasets import identifiers
from microflow.datasets.draws import Draws, Flags, Floats, category, granted_or_none, maybe
from microflow.datasets.identifiers import LEGAL_BASES, REFERENCE_DATE, URGENCY, sentences
from microflow.datasets.leaks import DataType, FieldLeak, Leak, TextLeak, always, drawn, past

__all__ = ["IOT"]

_TEXT = "message"
_MASKS = {"ip_address": ("***.***.***.***",), "serial_number": ("XX-XXXX",)}

#: Latitude, longitude, spread in degrees and weight of the towns.
_TOWNS = np.array(
    [
        [53.35, -6.26, 0.08, 120], [51.90, -8.47, 0.05, 22], [52.66, -8.63, 0.04, 10], [53.27, -9.06, 0.04, 9],
        [54.60, -5.93, 0.06, 34], [52.26, -7.11, 0.03, 6], [54.99, -7.32, 0.03, 8], [53.40, -7.70, 0.55, 60],
    ]
)  # fmt: skip
_BY_HOUR = (1, 0.5, 0.4, 0.4, 0.6, 1.5, 4, 7, 8, 6, 5, 5, 6, 6, 5, 5, 6, 8, 8, 6, 5, 4, 3, 2)
_DEVICES = ("watch", "phone", "tracker", "beacon")
#: How people move: at rest, on foot, by bicycle, by car; and the median speed (km/h) and pulse of each.
_SPEED = np.array([0.2, 4.8, 16, 55])
_PULSE = np.array([68, 92, 128, 74])
_FAST_PULSE = (135, 165)

_MESSAGES = sentences(
    ("Battery low", "Sync complete", "Firmware current", "Sensor replaced", "Signal weak"),
    ("no action needed", "user informed", "will retry at night", "ticket closed"),
    ("checked remotely", "seen twice this week", "all values in range"),
)


def _clean(draws: Draws) -> dict[str, pa.Array]:
    """Rows without a violation, all columns but the record id."""
    hour = draws.weighted(_BY_HOUR)
    moving = draws.grouped(np.searchsorted(_MORNING_AND_NIGHT, hour, side="right"), _MOVES)
    speed = draws.lognormal(_SPEED[moving], 0.4)
    pulse = _PULSE[moving] + 11 * draws.rng.standard_normal(draws.rows) + 0.4 * np.minimum(speed, 30)
    pulse = np.clip(pulse, 30, 220).astype(np.int64)
    basis = draws.weighted((60, 25, 2, 2, 3, 8))
    consent = granted_or_none(draws, basis == 0)
    precise = ~np.asarray(consent.is_null()) & draws.hits(0.3)
    latitude, longitude = _places(draws, precise)
    return {
        "user_ref": draws.codes(600_000, salt=31),
        "device_ref": draws.codes(700_000, salt=32),
        "gateway_ref": draws.codes(2_000, salt=33),
        "session_ref": draws.codes(),
        "sim_ref": draws.codes(500_000, salt=34),
        **dict.fromkeys(("ip_address", "serial_number"), pa.nulls(draws.rows, pa.string())),
        "latitude": pa.array(latitude),
        "longitude": pa.array(longitude),
        "hour": pa.array(hour),
        "device_type": category(_DEVICES, draws.weighted((45, 35, 15, 5))),
        "heart_rate": pa.array(pulse),
        "speed": pa.array(np.round(np.minimum(speed, 200), 1)),
        "alert": category(URGENCY, np.searchsorted(_FAST_PULSE, pulse)),
        "legal_basis": category(LEGAL_BASES, basis),
        "consent": consent,
        "consent_expires": maybe(draws.days(REFERENCE_DATE, date(2028, 12, 31)), basis == 0),
        "retain_until": draws.days(REFERENCE_DATE, date(2028, 12, 31)),
        _TEXT: maybe(category(_MESSAGES, draws.below(len(_MESSAGES))), draws.hits(0.35)),
    }


#: By time of day: before the first hour, before the second, after it.
_MORNING_AND_NIGHT = (6, 21)
_MOVES = np.array([[90, 5, 1, 4], [45, 30, 8, 17], [70, 16, 4, 10]])


def _places(draws: Draws, precise: Flags) -> tuple[Floats, Floats]:
    """Around the towns, on two decimals (about a kilometre) or on five where that is allowed."""
    town = _TOWNS[draws.weighted(_TOWNS[:, 3].tolist())]
    noise = draws.rng.standard_normal((2, draws.rows)) * town[:, 2]
    latitude = np.clip(town[:, 0] + noise[0], 51, 55.99)
    longitude = np.clip(town[:, 1] + 1.6 * noise[1], -10.99, -5)
    exact, coarse = (np.round((latitude, longitude), decimals) for decimals in (5, 2))
    return np.where(precise, exact[0], coarse[0]), np.where(precise, exact[1], coarse[1])


def _too_precise(draws: Draws, present: pa.Array) -> Floats:
    """The same place on five decimals, the last three of which are never all zero."""
    thousandths = 1 + draws.below(998)
    exact: Floats = np.round(np.trunc(np.asarray(present) * 100) / 100 + np.sign(present) * thousandths / 1e5, 5)
    return exact


_COARSE = dict.fromkeys(("latitude", "longitude"), lambda _, present: np.round(np.asarray(present), 2))
_LEAKS: tuple[Leak, ...] = (
    FieldLeak("gdpr-ip", {"ip_address": drawn(identifiers.ips)}, weight=12),
    FieldLeak("gdpr-device", {"serial_number": drawn(identifiers.serials)}, weight=10),
    FieldLeak(
        "gdpr-location",
        {"latitude": _too_precise, "longitude": _too_precise},
        {"legal_basis": always("legitimate_interests"), "consent": always(None)},
        weight=22,
    ),
    FieldLeak("gdpr-legal-basis", {"legal_basis": always(None)}, weight=8),
    FieldLeak(
        "gdpr-consent-missing",
        {"consent": always(None)},
        {"legal_basis": always("consent"), "consent_expires": always(None), **_COARSE},
        weight=8,
    ),
    FieldLeak("gdpr-consent-withdrawn", {"consent": always("withdrawn")}, _COARSE, weight=8),
    FieldLeak(
        "gdpr-consent-expired",
        {"consent_expires": past(2019)},
        {"legal_basis": always("consent"), "consent": always("granted")},
        weight=8,
    ),
    FieldLeak("gdpr-retention", {"retain_until": past(2019)}, weight=8),
    TextLeak("gdpr-text-email", _TEXT, identifiers.emails, weight=5),
    TextLeak("gdpr-text-phone", _TEXT, identifiers.phones, weight=5),
    TextLeak("gdpr-text-ip", _TEXT, identifiers.ips, weight=6),
)

IOT = DataType(_clean, _LEAKS, _MASKS, _TEXT)
