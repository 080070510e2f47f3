"""Hospital encounters under HIPAA: as they should leave the building, and what leaks.

Diagnoses depend on age and sex, costs on diagnosis, age and triage, triage on age: models have something to learn.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from microflow.datasets import identifiers
from microflow.datasets.draws import Draws, Integers, category, maybe
from microflow.datasets.identifiers import REFERENCE_DATE, RESTRICTED_ZIP3, URGENCY, ZIP3, sentences
from microflow.datasets.leaks import DataType, FieldLeak, Leak, TextLeak, always, between, drawn

__all__ = ["HEALTHCARE"]

_TEXT = "notes"
_MASKS = {
    "ssn": ("***-**-****", "XXX-XX-XXXX"),
    "phone": ("***-***-****",),
    "email": ("****",),
    "mrn": ("########",),
    "patient_name": ("xxxx xxxx", "••••"),
}

_DIAGNOSES = ("E11", "I10", "J45", "F32", "M54", "K21", "N18", "C50", "G43", "B20")
#: How often each diagnosis is met, by age under 18, 40, 65 and above.
_BY_AGE = np.array(
    [
        [2, 1, 40, 10, 4, 5, 1, 0.1, 15, 1],
        [5, 5, 14, 22, 18, 12, 1, 1.5, 18, 3],
        [18, 22, 7, 12, 18, 14, 4, 5, 6, 2],
        [22, 30, 5, 7, 12, 10, 12, 6, 2, 1],
    ]
)
_MEDIAN_COST = np.array([2_400, 900, 700, 1_500, 1_100, 800, 14_000, 21_000, 600, 9_000], np.float64)
_MALE_C50 = 0.02
#: People in hospital by age in five-year steps: infants, then rising with age, thinning out above 85.
_AGE_STEPS = (60, 18, 14, 20, 32, 40, 44, 42, 40, 42, 48, 56, 64, 70, 72, 66, 54, 40, 16)
_ELDEST = 90

_NOTES = sentences(
    ("Seen today", "Follow-up visit", "Walk-in", "Referred by a colleague", "Transferred from another ward"),
    ("no fever", "mild pain", "blood pressure stable", "shortness of breath", "sleeping badly", "feeling better"),
    ("lungs clear", "no oedema", "wound healing well", "labs pending", "imaging without findings"),
    ("medication continued", "dose halved", "review in two weeks", "discharged home", "diet discussed", "rest advised"),
)


def _clean(draws: Draws) -> dict[str, pa.Array]:
    """Rows without a violation, all columns but the record id."""
    band = draws.weighted(_AGE_STEPS)
    age = np.minimum(5 * band + draws.below(5), _ELDEST)
    sex = draws.weighted((53, 46, 1))
    diagnosis = draws.grouped(_age_group(age), _BY_AGE)
    diagnosis = np.where((diagnosis == _DIAGNOSES.index("C50")) & (sex == 1) & ~draws.hits(_MALE_C50), 1, diagnosis)
    triage = draws.grouped(_age_group(age), np.array([[70, 22, 8], [80, 15, 5], [76, 18, 6], [64, 26, 10]]))
    cost = draws.lognormal(_MEDIAN_COST[diagnosis] * (1 + age / 100) * np.array([1, 1.6, 3.2])[triage], 0.6)
    zips = (*ZIP3, "000")
    return {
        "patient_ref": draws.codes(2_000_000, salt=1),
        "provider_ref": draws.codes(4_000, salt=2),
        "facility_ref": draws.codes(300, salt=3),
        "encounter_ref": draws.codes(),
        "device_ref": draws.codes(20_000, salt=4),
        **dict.fromkeys(("patient_name", "ssn", "phone", "email", "mrn"), pa.nulls(draws.rows, pa.string())),
        "age": pa.array(age),
        "sex": category(("F", "M", "X"), sex),
        "zip": category(zips, draws.weighted((*ZIP3.values(), 300))),
        "admission_date": category([str(year) for year in range(2015, 2026)], draws.weighted(range(6, 17))),
        "diagnosis": category(_DIAGNOSES, diagnosis),
        "treatment_cost": pa.array(np.round(np.minimum(cost, 100_000), 2)),
        "triage": category(URGENCY, triage),
        "consent": pa.repeat("granted", draws.rows),
        "retain_until": _years(draws, REFERENCE_DATE.year, 2036),
        _TEXT: maybe(category(_NOTES, draws.below(len(_NOTES))), draws.hits(0.75)),
    }


def _age_group(age: Integers) -> Integers:
    return np.searchsorted([18, 40, 65], age, side="right")


def _too_old(draws: Draws, _: pa.Array) -> Integers:
    return 91 + np.minimum(draws.below(19), draws.below(19))


def _fine_zips(draws: Draws, _: pa.Array) -> list[str]:
    fives = [start + end for start, end in zip(draws.words(tuple(ZIP3)), draws.digits(2), strict=True)]
    restricted = draws.words(RESTRICTED_ZIP3)
    return [three if rare else five for three, rare, five in zip(restricted, draws.hits(0.2), fives, strict=True)]


def _years(draws: Draws, first: int, last: int) -> pa.Array:
    return category([str(year) for year in range(first, last + 1)], draws.below(last + 1 - first))


_LEAKS: tuple[Leak, ...] = (
    FieldLeak("hipaa-name", {"patient_name": drawn(identifiers.names)}, weight=9),
    FieldLeak("hipaa-ssn", {"ssn": drawn(identifiers.ssns)}, weight=7),
    FieldLeak("hipaa-phone", {"phone": drawn(identifiers.phones)}, weight=8),
    FieldLeak("hipaa-email", {"email": drawn(identifiers.emails)}, weight=8),
    FieldLeak("hipaa-mrn", {"mrn": drawn(identifiers.mrns)}, weight=8),
    FieldLeak("hipaa-age", {"age": _too_old}, weight=4),
    FieldLeak("hipaa-zip", {"zip": _fine_zips}, weight=9),
    FieldLeak("hipaa-date", {"admission_date": drawn(identifiers.fine_dates)}, weight=9),
    FieldLeak("hipaa-consent", {"consent": always("withdrawn")}, weight=5),
    FieldLeak("hipaa-date", {"retain_until": between(REFERENCE_DATE, date(2036, 12, 31))}, weight=2),
    FieldLeak(
        "hipaa-retention", {"retain_until": lambda draws, _: _years(draws, 2018, REFERENCE_DATE.year - 1)}, weight=5
    ),
    TextLeak("hipaa-text-ssn", _TEXT, identifiers.ssns, weight=3),
    TextLeak("hipaa-text-email", _TEXT, identifiers.emails, weight=4),
    TextLeak("hipaa-text-phone", _TEXT, identifiers.phones, weight=5),
    TextLeak("hipaa-text-ip", _TEXT, identifiers.ips, weight=2),
    TextLeak("hipaa-text-url", _TEXT, identifiers.urls, weight=2),
    TextLeak("hipaa-text-mrn", _TEXT, identifiers.mrns, weight=4),
    TextLeak("hipaa-text-date", _TEXT, identifiers.text_dates, weight=4),
    TextLeak("hipaa-text-card", _TEXT, identifiers.cards, weight=2),
)

HEALTHCARE = DataType(_clean, _LEAKS, _MASKS, _TEXT)
