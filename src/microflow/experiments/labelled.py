"""Recall and precision of the scanner on texts that somebody else labelled: lower than on our own generator.

The file has a JSON object a line: ``text``, and ``spans`` with ``kind``, ``start`` and ``end`` (code points), in the
words of presidio-research (Microsoft, ``data/synth_dataset_v2.json``, MIT licence).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from microflow.compliance.own import OwnIdentifiers
from microflow.compliance.patterns import PATTERN_NAMES
from microflow.compliance.scanner import Span, TextScanner
from microflow.compliance.spelling import TITLES
from microflow.schema import Column, DatasetSchema, Role

__all__ = ["Detection", "detection", "own_name_recall"]

#: The corpus's kinds to ours. Its dates hold bare years and weekdays, which Safe Harbor allows: they count as missed.
_KINDS = {
    "CREDIT_CARD": "card", "PHONE_NUMBER": "phone", "EMAIL_ADDRESS": "email", "IBAN_CODE": "iban", "US_SSN": "ssn",
    "IP_ADDRESS": "ip", "DOMAIN_NAME": "url", "DATE_TIME": "date",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Detection:
    """Of one kind: its labels, those that a finding touches, those that one covers, and findings that touch none."""

    labels: int
    touched: int
    covered: int
    false_alarms: int

    @property
    def recall(self) -> float:
        """Share of the labels of which a finding covers every character."""
        return self.covered / self.labels if self.labels else 1.0

    @property
    def precision(self) -> float:
        """Share of the findings that touch a label."""
        found = self.touched + self.false_alarms
        return self.touched / found if found else 1.0


def detection(path: Path) -> Mapping[str, Detection]:
    """Recall and precision by kind on a labelled file; a finding on a label of another kind is no false alarm.

    Raises:
        OSError: the file cannot be read.
    """
    scanner = TextScanner(PATTERN_NAMES)
    labels, touched, covered, alarms = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for text, gold in _labelled(path):
        found = scanner.spans(text)
        for label, start, end in gold:
            kind = _KINDS.get(label)
            if kind is not None:
                labels[kind] += 1
                touched[kind] += any(first < end and last > start for _, first, last in found)
                covered[kind] += any(first <= start and last >= end for _, first, last in found)
        for name, first, last in found:
            alarms[name] += not any(first < end and last > start for label, start, end in gold if label in _KINDS)
    return {kind: Detection(labels[kind], touched[kind], covered[kind], alarms[kind]) for kind in sorted(labels)}


def own_name_recall(path: Path) -> tuple[int, int]:
    """Labelled persons, and how many of them are found, titles aside, when a column of the record holds them."""
    own = OwnIdentifiers(
        DatasetSchema("labelled", (Column("name", Role.IDENTIFIER, kind="name"),), policy=""), ["name"]
    )
    persons = found = 0
    for text, gold in _labelled(path):
        for label, start, end in gold:
            if label == "PERSON":
                persons += 1
                spans = own.spans(text, [text[start:end]])
                covered = {place for _, first, last in spans for place in range(first, last)}
                left = "".join(text[place] if place not in covered else " " for place in range(start, end))
                found += bool(spans) and set(re.findall(r"\w+", left.lower())) <= TITLES
    return persons, found


def _labelled(path: Path) -> list[tuple[str, list[Span]]]:
    entries = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [(one["text"], [(span["kind"], span["start"], span["end"]) for span in one["spans"]]) for one in entries]
