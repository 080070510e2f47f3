"""A small input with everything in it: violations, gaps, rows for the quarantine; the same bytes every time."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from microflow.descriptors import load_schema

__all__ = ["write_people"]

NAMES = ("Ada Byron", "Grace Murray", "Alan Mathison", "Mary Jackson")


def write_people(path: Path, rows: int, seed: int = 7) -> None:
    """Healthcare records: one in ten leaks something, one in a hundred cannot be read."""
    draw = random.Random(seed)
    names = load_schema("healthcare").names
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for number in range(rows):
            writer.writerow(_person(draw, number))


def _person(draw: random.Random, number: int) -> dict[str, object]:
    leaks = draw.random() < 0.1
    return {
        "record_id": number,
        **{f"{what}_ref": f"{draw.getrandbits(48):012x}" for what in ("patient", "provider", "facility", "encounter")},
        "patient_name": draw.choice(NAMES) if leaks else "",
        "ssn": f"{draw.randint(100, 665)}-{draw.randint(10, 99)}-{draw.randint(1000, 9999)}" if leaks else "",
        "age": "unknown" if draw.random() < 0.01 else draw.randint(1, 99),
        "sex": draw.choice("FMX"),
        "zip": draw.choice(("941", "100", "606", "94110" if leaks else "941")),
        "admission_date": draw.choice(("2021", "2022-03-04" if leaks else "2022")),
        "diagnosis": draw.choice(("E11", "I10", "J45")),
        "treatment_cost": round(draw.uniform(100, 90_000), 2),
        "triage": draw.choices(("routine", "urgent", "emergency"), (8, 1, 1))[0],
        "consent": "withdrawn" if draw.random() < 0.02 else "granted",
        "retain_until": "2031",
        "notes": "seen by 555-201-3344" if draw.random() < 0.05 else "no complaints",
    }
