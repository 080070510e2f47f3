"""A release judged: run, verified, attacked, held against thresholds, and certified if it meets them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from microflow import __version__
from microflow.advise.certificate import CertificateError, fingerprint, issue, mismatches, read_certificate
from microflow.advise.sample import ATTEMPTS
from microflow.advise.verification import class_sizes
from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess import Assessment, align, assess, needed_columns
from microflow.assess.classes import achieved
from microflow.assess.pair import Pair
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.errors import InputError, MicroflowError
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.pipeline.verdict import JobVerdict
from microflow.schema import DatasetSchema, Role
from microflow.sources import Quarantine, read_microflows
from microflow.store.progress import JobProgress

__all__ = ["Made", "Thresholds", "certified", "compare_files", "make_release"]


def compare_files(
    original: Path,
    released: Path,
    schema: DatasetSchema,
    *,
    control: Path | None = None,
    attempts: int = 1_000,
    seed: int = 1,
) -> Assessment:
    """Measure a released file against its original, and who is in it against a control of others.

    Raises:
        InputError: a file cannot be read or holds no rows, or the two do not belong together.
    """
    before, after = _table(original, schema), _release_of(released, schema)
    others = None if control is None else _table(control, schema)
    ordinals = align(schema, before, after)
    return assess(before, after, ordinals, schema, control=others, attempts=attempts, seed=seed)


def _release_of(file: Path, schema: DatasetSchema) -> pa.Table:
    """A release's rows: quasi-identifiers are text, record ids and sensitive columns keep their types."""
    return _table(file, schema.released(Role.RECORD_ID, Role.SENSITIVE), is_whole=True)


def _table(path: Path, schema: DatasetSchema, *, is_whole: bool = False) -> pa.Table:
    """The rows that the pipeline would accept, too; of a release all of them."""
    names = needed_columns(schema)
    quarantine = Quarantine()
    flows = [flow.rows.select(names) for flow in read_microflows(path, schema, quarantine=quarantine)]
    if is_whole:
        quarantine.require_none(path)
    if not flows:
        raise InputError("there are no rows to assess", path=path)
    return pa.Table.from_batches(flows)


def _guarantee(file: Path, schema: DatasetSchema) -> dict[str, Any]:
    """What a release shows by itself: ``rows``, and ``k``, ``l``, ``t`` and ``c`` with the ``unit`` that k counts."""
    rows = _release_of(file, schema)
    of_release = schema.released(Role.RECORD_ID, Role.SENSITIVE)
    found = achieved(Pair.of(of_release, rows, rows, np.arange(rows.num_rows)))
    sizes, unit = class_sizes(file, schema)
    return {
        "rows": int(sizes["rows"].sum()),
        "unit": unit,
        "k": int(sizes["members"].to_numpy().min()),
        "l": dict(found.l_diversity),
        "c": dict(found.recursive_c),
        "t": {name: round(float(distance), 6) for name, distance in found.t_closeness.items()},
    }


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a release must meet: linkage risk at its interval's upper end, information left, rows released.

    ``max_average_risk`` is of the mean of 1 over the size of one's class, as ARX has it; 1 asks for nothing.
    """

    max_risk: float
    min_utility: float
    min_released: float
    max_average_risk: float = 1.0


@dataclass(frozen=True)
class Made:
    """A release that is not in its place yet, and everything that was measured of it.

    Attributes:
        file: What was released.
        output: The release.
        schema: The descriptor.
        policy: The rules, as they were named.
        settings: The method.
        metrics: The job's document.
        guarantee: ``rows``, ``unit``, ``k``, ``l`` and ``t``, counted on the release alone.
        assessment: The attacks on the release.
    """

    file: Path
    output: Path
    schema: DatasetSchema
    policy: str
    settings: MethodSettings
    metrics: Mapping[str, Any]
    guarantee: Mapping[str, Any]
    assessment: Assessment

    @property
    def verdict(self) -> JobVerdict:
        """What became of the rows."""
        return JobVerdict.from_dict(self.metrics["verdict"])

    @property
    def utility(self) -> float:
        """What is left of the information, from 0 to 1."""
        return 1 - self.assessment.information_loss

    def failures(self, thresholds: Thresholds) -> list[str]:
        """The thresholds that are not met, in words."""
        found, attack, share = [], self.assessment.linkage[-1], self.verdict.share_released
        if attack.high > thresholds.max_risk:
            found.append(f"linkage risk {self._risk()} is not within {thresholds.max_risk:g}")
        if self.utility < thresholds.min_utility:
            found.append(f"{self.utility:.1%} of the information is left, not {thresholds.min_utility:.1%}")
        if share < thresholds.min_released:
            found.append(f"{share:.1%} of the rows can be released, not {thresholds.min_released:.1%}")
        average = self.assessment.reidentification.prosecutor_average
        if average > thresholds.max_average_risk:
            found.append(f"the average risk {average:.3g} is not within {thresholds.max_average_risk:g}")
        asked = self.settings.k if self.settings.method is Method.K_ANONYMITY else 1
        if self.guarantee["k"] < asked:
            found.append(f"the smallest class has {self.guarantee['k']} {self.guarantee['unit']}s, not k = {asked}")
        return found

    def lines(self) -> list[str]:
        """The verdict of the run, and what was measured."""
        rows = self.guarantee["rows"]
        measured = f"linkage risk {self._risk()}, n = {rows:,}; {self.utility:.1%} of the information is left"
        return [*self.verdict.lines(), measured]

    def to_dict(self, thresholds: Thresholds) -> dict[str, Any]:
        """JSON-ready; no value of a record is in it."""
        attack, failures = self.assessment.linkage[-1], self.failures(thresholds)
        return {
            "verdict": "failed" if failures else "passed",
            "failures": failures,
            "thresholds": asdict(thresholds),
            "method": dict(self.metrics["method"]),
            "achieved_by_file": dict(self.guarantee),
            "risk": {"value": attack.risk, "low": attack.low, "high": attack.high},
            "utility": self.utility,
            **self.verdict.to_dict(),
        }

    def _risk(self) -> str:
        attack = self.assessment.linkage[-1]
        return f"{attack.risk:.3f} [{attack.low:.3f}, {attack.high:.3f}]"

    def certificate(self, thresholds: Thresholds) -> bytes:
        """The certificate of this release, which passed."""
        verdict, attack, counted = self.metrics["verdict"], self.assessment.linkage[-1], self.guarantee
        rules = load_policy(self.policy)
        is_grouped = self.settings.method is Method.K_ANONYMITY
        return issue(
            {
                "microflow": __version__,
                "created": datetime.now(UTC).date().isoformat(),
                "input": {**fingerprint(self.file), "rows": verdict["read"]},
                "output": {**fingerprint(self.output), "rows": verdict["released"]},
                "descriptor": {
                    "name": self.schema.name,
                    "sha256": hashlib.sha256(repr(self.schema).encode()).hexdigest(),
                    "quasi_identifiers": [column.name for column in self.schema.quasi_identifiers],
                },
                "policy": {"name": rules.name, "sha256": hashlib.sha256(repr(rules).encode()).hexdigest()},
                "method": {name: item for name, item in self.metrics["method"].items() if item is not None},
                "counts": {name: verdict[name] for name in ("read", "released", "suppressed", "quarantined")},
                "guarantee": {
                    "text": verdict["guarantee"],
                    **{name: counted[name] if is_grouped or name == "unit" else None for name in ("unit", *"klt")},
                },
                "risk": {
                    "linkage": {"value": attack.risk, "low": attack.low, "high": attack.high, "n": counted["rows"]}
                },
                "passed_unprotected": verdict["passed_unprotected"],
                "thresholds": asdict(thresholds),
                "verdict": "passed",
            }
        )


def make_release(job: JobSpec, observe: Callable[[JobProgress], None]) -> Made:
    """Run a job on files of this machine, then verify and attack what it made.

    Raises:
        MicroflowError: no row can be released, or a file or setting is wrong.
    """
    metrics = PipelineOrchestrator(None, observe=observe).run(job)
    if not metrics["verdict"]["released"]:
        raise MicroflowError("no row can be released", hint="microflow run says why rows are suppressed or refused")
    schema, file, output = load_schema(job.schema), Path(job.input), Path(job.output)
    found = compare_files(file, output, schema, attempts=ATTEMPTS)
    guarantee = _guarantee(output, schema)
    return Made(file, output, schema, job.policy or schema.policy, job.method, metrics, guarantee, found)


def certified(certificate: Path, file: Path, schema: DatasetSchema, counted: Mapping[str, int]) -> dict[str, Any]:
    """The certificate of a release, where it is the certified one.

    Args:
        certificate: What `Made.certificate` gave.
        file: The release.
        schema: What its columns mean.
        counted: ``rows`` and ``k`` of the release.

    Raises:
        CertificateError: the certificate was changed, or the release is another.
    """
    document = read_certificate(certificate)
    found = list(_contradictions(document, file, schema, counted))
    if found:
        raise CertificateError("; ".join(found), hint="this is not the release that was certified")
    return document


def _contradictions(
    document: Mapping[str, Any], file: Path, schema: DatasetSchema, counted: Mapping[str, int]
) -> Iterator[str]:
    described = document["descriptor"].get("quasi_identifiers")
    if described != [column.name for column in schema.quasi_identifiers]:
        yield "the schema has other quasi-identifiers than the certificate's"
        return
    is_grouped = document["guarantee"].get("k") is not None
    yield from mismatches(document, file, _guarantee(file, schema) if is_grouped else counted)
