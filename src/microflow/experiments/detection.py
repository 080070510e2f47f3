"""Detection: does every rule find what it must? Conformance on our own generator, and an independent labelled corpus.

On generated records a finding is right when row, rule, field and, in free text, the span agree with the truth to the
code point. That is *conformance*: it says how well the rules cover what our generator writes, near misses included, and
says nothing about other prose. Beside it stands prose that others wrote and labelled (Microsoft's
presidio-research, ``data/synth_dataset_v2.json``, MIT): its numbers are lower, and are the ones to expect. That file
has a JSON object a line: ``text``, and ``spans`` with ``kind``, ``start`` and ``end`` (code points).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from microflow.assess.attacks import Rate
from microflow.compliance import BatchChecker, load_policy
from microflow.compliance.own import OwnIdentifiers
from microflow.compliance.patterns import PATTERN_NAMES
from microflow.compliance.scanner import Span, TextScanner
from microflow.compliance.spelling import TITLES
from microflow.datasets import DATA_TYPES, GeneratedBatch, generate
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.experiments.work import DataChecksum, shared_data
from microflow.lab.experiment import Experiment, Matrix, Plot, scale_of
from microflow.lab.report import Answer, Table, design
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.trials import Arm
from microflow.records import microflows
from microflow.schema import Column, DatasetSchema, Role

__all__ = [
    "DETECTION", "GOAL", "Accuracy", "Counts", "answer", "by_regulation", "corpus_counts", "corpus_file",
    "corpus_trial", "frame", "matrix", "measure_accuracy", "measured", "own_name_counts", "table", "trial",
]  # fmt: skip

#: What every rule is held to on 200,000 records of each data type.
GOAL = {"recall": 0.999, "precision": 0.995}

#: Row, rule, field, start and end.
Place = tuple[int, str, str, int, int]


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of violations: found, found although there is none, and not found."""

    hits: int
    false_alarms: int
    misses: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.hits + other.hits, self.false_alarms + other.false_alarms, self.misses + other.misses)

    @property
    def precision(self) -> Rate:
        """The share of the findings that are right, with Wilson's interval."""
        return Rate.of(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> Rate:
        """The share of the violations that are found, with Wilson's interval."""
        return Rate.of(self.hits, self.hits + self.misses)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One rule on one data type; a rule that the data type's columns never invoke is not measured."""

    data_type: str
    regulation: str
    rule: str
    counts: Counts

    @property
    def reaches_goal(self) -> bool:
        """True if recall and precision are at least `GOAL`."""
        return self.counts.recall.value >= GOAL["recall"] and self.counts.precision.value >= GOAL["precision"]


def measure_accuracy(data_type: str, batches: Iterable[GeneratedBatch]) -> list[Accuracy]:
    """Check generated records of ``data_type`` against their truth, a batch at a time.

    Returns:
        One `Accuracy` for each rule of the data type's default policy that was broken or reported, in policy order.
    """
    schema = load_schema(data_type)
    policy = load_policy(schema.policy)
    checker = BatchChecker(policy, schema)
    hits, false_alarms, misses = Counter[str](), Counter[str](), Counter[str]()
    first_row = 0
    for batch in batches:
        truth = set[Place](zip(*(column.to_pylist() for column in batch.truth.columns), strict=True))
        found = set(_found_places(checker, batch.rows, first_row))
        hits.update(place[1] for place in truth & found)
        false_alarms.update(place[1] for place in found - truth)
        misses.update(place[1] for place in truth - found)
        first_row += batch.rows.num_rows
    counts = {rule.id: Counts(hits[rule.id], false_alarms[rule.id], misses[rule.id]) for rule in policy.rules}
    return [
        Accuracy(data_type, rule.regulation, rule.id, counts[rule.id])
        for rule in policy.rules
        if counts[rule.id] != Counts(0, 0, 0)
    ]


def _found_places(checker: BatchChecker, rows: pa.RecordBatch, first_row: int) -> Iterator[Place]:
    for flow in microflows([rows]):
        for row, violation in checker.violations(checker.check(flow.rows)):
            at = first_row + flow.first_row + row
            yield at, violation.rule, violation.field, violation.start, violation.end


def by_regulation(measured: Iterable[Accuracy]) -> dict[str, Counts]:
    """The counts of all rules of a regulation together, whatever the data type."""
    totals: dict[str, Counts] = {}
    for accuracy in measured:
        totals[accuracy.regulation] = totals.get(accuracy.regulation, Counts(0, 0, 0)) + accuracy.counts
    return totals


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check ``rows`` records of ``data_type`` with hard cases: ``rules`` (counts of each one) and ``data_checksum``."""
    checksum = DataChecksum()

    def batches() -> Iterator[GeneratedBatch]:
        for batch in generate(config["data_type"], config["rows"], config["seed"]):
            for flow in microflows([batch.rows]):  # a batch is whole microflows, but for the last
                checksum.add(flow.rows)
            yield batch

    found = measure_accuracy(config["data_type"], batches())
    return {"rules": [asdict(accuracy) for accuracy in found], "data_checksum": checksum.hexdigest()}


#: Of the corpus as it was recorded.
_CORPUS_SHA256 = "855fb08ed6d4689c248ab2f67bd4516c341185c000f72c59fd3e38b18d9223b8"
_CORPUS, _OWN_NAMES = "prose of others", "names that the record holds"
#: The corpus's kinds to ours. Its dates hold bare years and weekdays, which Safe Harbor allows: they count as missed.
_KINDS = {
    "CREDIT_CARD": "card", "PHONE_NUMBER": "phone", "EMAIL_ADDRESS": "email", "IBAN_CODE": "iban", "US_SSN": "ssn",
    "IP_ADDRESS": "ip", "DOMAIN_NAME": "url", "DATE_TIME": "date",
}  # fmt: skip


def corpus_file() -> Path | None:
    """The labelled corpus: ``MICROFLOW_PROSE``, or `pii_prose.jsonl` in the shared data beside the project."""
    path = shared_data("MICROFLOW_PROSE", "pii_prose.jsonl")
    return path if path.is_file() else None


def corpus_trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Scan the labelled corpus: ``rules``, counts by kind of what the scanner looks for, and of persons by own names.

    A label is found where a finding covers every character of it; a finding is false where it touches no label. A name
    in prose is looked for where a column of its record holds it. ``config`` has the corpus's SHA-256, which is checked.

    Raises:
        InputError: the corpus is not there, or another one.
    """
    path = corpus_file()
    if path is None or sha256(path.read_bytes()).hexdigest() != config["corpus"]:
        raise InputError("the labelled corpus of the matrix is not there", hint="MICROFLOW_PROSE names it")
    counts = {**corpus_counts(path), _OWN_NAMES: own_name_counts(path)}
    rules = [asdict(Accuracy(_CORPUS, "free text", kind, count)) for kind, count in counts.items()]
    return {"rules": rules, "data_checksum": config["corpus"]}


def corpus_counts(path: Path) -> dict[str, Counts]:
    """Counts by kind on a labelled file: labels that a finding covers whole, findings without a label, labels left."""
    scanner = TextScanner(PATTERN_NAMES)
    labels, covered, alarms = Counter[str](), Counter[str](), Counter[str]()
    for text, gold in _labelled(path):
        found = scanner.spans(text)
        known = [(_KINDS[label], start, end) for label, start, end in gold if label in _KINDS]
        for kind, start, end in known:
            labels[kind] += 1
            covered[kind] += any(first <= start and last >= end for _, first, last in found)
        for name, first, last in found:
            alarms[name] += not any(first < end and last > start for _, start, end in known)
    return {kind: Counts(covered[kind], alarms[kind], labels[kind] - covered[kind]) for kind in sorted(labels)}


def own_name_counts(path: Path) -> Counts:
    """Labelled persons that are found, titles aside, when a column of the record holds them."""
    name = Column("name", Role.IDENTIFIER, kind="name")
    own = OwnIdentifiers(DatasetSchema("labelled", (name,), policy=""), [name.name])
    persons = found = 0
    for text, gold in _labelled(path):
        for _, start, end in (span for span in gold if span[0] == "PERSON"):
            persons += 1
            spans = own.spans(text, [text[start:end]])
            covered = {place for _, first, last in spans for place in range(first, last)}
            left = "".join(text[place] if place not in covered else " " for place in range(start, end))
            found += bool(spans) and set(re.findall(r"\w+", left.lower())) <= TITLES
    return Counts(found, 0, persons - found)


def _labelled(path: Path) -> list[tuple[str, list[Span]]]:
    entries = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        (entry["text"], [(span["kind"], span["start"], span["end"]) for span in entry["spans"]]) for entry in entries
    ]


#: Data types, and records of each.
_SCALES: dict[str, tuple[tuple[str, ...], int]] = {
    "smoke": (("healthcare",), 2_000),
    "quick": (DATA_TYPES, 10_000),
    "paper": (DATA_TYPES, 200_000),
}


def matrix(profile: str) -> Matrix:
    """One trial a data type, and one over the labelled corpus where it is at hand: counts do not vary."""
    types, rows = scale_of(_SCALES, profile)
    arms = [Arm(data_type, f"{__name__}:trial", {"data_type": data_type, "rows": rows}) for data_type in types]
    path = corpus_file()
    digest = _CORPUS_SHA256 if path is None else sha256(path.read_bytes()).hexdigest()
    config = {"data_type": _CORPUS, "corpus": digest}
    arms.append(Arm(_CORPUS, f"{__name__}:corpus_trial", config, absent=path is None))
    return Matrix("detection", tuple(arms), 1, side_by_side=True)


def measured(results: Results, *, corpus: bool = False) -> list[Accuracy]:
    """Every rule on every generated data type, or every kind in the labelled corpus."""
    rules = [row for trial in results.trials for row in trial.run.result["rules"]]
    found = [Accuracy(**{**row, "counts": Counts(**row["counts"])}) for row in rules]
    return [accuracy for accuracy in found if (accuracy.data_type == _CORPUS) == corpus]


def frame(results: Results) -> Frame:
    """Recall and precision by data type and rule, in policy order, as `microflow.figures.charts` wants them."""
    columns = ["data_type", "regulation", "rule"]
    columns += [f"{name}{end}" for name in ("recall", "precision") for end in ("", "_low", "_high")]
    rows = []
    for accuracy in measured(results):
        shares = (accuracy.counts.recall, accuracy.counts.precision)
        ends = [end for share in shares for end in (share.value, share.low, share.high)]
        rows.append((accuracy.data_type, accuracy.regulation, accuracy.rule, *ends))
    return data_frame(rows, columns)


def table(results: Results) -> Table:
    """Recall and precision on the labelled corpus, kind by kind; on our generator, regulation by regulation."""
    found = by_regulation(measured(results)).items()
    rows = [[f"generated, {regulation}", *_cells(counts)] for regulation, counts in found]
    for accuracy in measured(results, corpus=True):
        cells = _cells(accuracy.counts)
        if accuracy.rule == _OWN_NAMES:
            cells[-1] = "–"  # a name is only looked for where it is: there is nothing to be wrong about
        rows.append([f"{_CORPUS}, {accuracy.rule}", *cells])
    return Table(
        ["what", "labelled", "recall", "precision"],
        rows,
        "Generated records: conformance to the truth that our own generator planted, near misses included. Prose of "
        "others: sentences that Microsoft's presidio-research generated and labelled, of which only the kinds that "
        f"patterns can find are looked for. Intervals are Wilson's, 95 %. {design(results)}.",
    )


def _cells(counts: Counts) -> list[str]:
    shares = [
        f"{share.value:.4f} [{share.low:.4f}, {share.high:.4f}]" if share.attempts else "–"
        for share in (counts.recall, counts.precision)
    ]
    return [f"{counts.hits + counts.misses:,}", *shares]


def answer(results: Results) -> Answer:
    """Recall and precision over all rules of each regulation, and on prose of others."""
    found = measured(results)
    numbers: dict[str, str] = {}
    said = []
    for regulation, counts in by_regulation(found).items():
        recall, precision = f"{counts.recall.value:.4f}", f"{counts.precision.value:.4f}"
        numbers |= {f"detection {regulation} recall": recall, f"detection {regulation} precision": precision}
        said.append(f"{regulation} {recall} and {precision}")
    reached = sum(accuracy.reaches_goal for accuracy in found)
    numbers["detection rules that reach the goal"] = f"{reached} of {len(found)}"
    sentence = (
        f"Conformance to our own generator, near misses included (recall and precision): {'; '.join(said)}; {reached} "
        f"of {len(found)} rules reach the goal of {GOAL['recall']} and {GOAL['precision']}."
    )
    if others := measured(results, corpus=True):
        patterns = [accuracy for accuracy in others if accuracy.rule != _OWN_NAMES]
        together = sum((accuracy.counts for accuracy in patterns), Counts(0, 0, 0))
        numbers["detection prose recall"] = f"{together.recall.value:.2f}"
        numbers["detection prose precision"] = f"{together.precision.value:.2f}"
        sentence += (
            f" On prose that others wrote and labelled, {together.hits + together.misses} identifiers of "
            f"{len(patterns)} kinds, recall is {together.recall.value:.2f} and precision "
            f"{together.precision.value:.2f}; names are looked for only where the record holds them, addresses never."
        )
    return Answer(sentence, numbers)


DETECTION = Experiment(
    name="detection",
    asks="Is a violation overlooked?",
    notebook="rq1",
    matrix=matrix,
    frame=frame,
    answer=answer,
    seconds=lambda config: 0.1 + float(config.get("rows", 10_000)) * 2e-5,
    same=("rules", "data_checksum"),
    tables={"detection": table},
    plot=Plot(
        "detection-accuracy",
        "accuracy",
        "Conformance: recall and precision of every rule against the truth that our own generator planted, near misses "
        "included, with Wilson intervals.",
    ),
)
