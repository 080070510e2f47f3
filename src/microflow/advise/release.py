"""A release judged and certified: run, attacked, held against thresholds; its certificate, and what contradicts one.

A certificate says what was released, how it was protected, and what can be counted again on the release alone. It is
canonical JSON (sorted keys, fixed indentation) with a SHA-256 digest over everything else in it: a file that differs
from its own canonical form by one byte is refused, and so is a release whose hash, number of rows, k, l or t differ
from what is stated. It proves that certificate and release belong together and were not changed by accident or by
somebody who changes one of them; it is no signature: a person who can replace both can forge both. Keep or sign it
where the release cannot be written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from microflow import __version__
from microflow.advise.sample import ATTEMPTS
from microflow.advise.search import Constraints
from microflow.advise.verification import verified
from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess import Assessment, align, assess, needed_columns
from microflow.assess.pair import Pair, achieved
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.errors import InputError, MicroflowError
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.pipeline.metrics import JobVerdict
from microflow.schema import DatasetSchema, Role
from microflow.sources import Quarantine, read_microflows
from microflow.store.progress import JobProgress

__all__ = [
    "CertificateError", "Made", "ReleaseConstraints", "certified", "compare_files", "digest_of", "fingerprint", "issue",
    "make_release", "mismatches", "read_certificate",
]  # fmt: skip

VERSION: Final = 1
#: A certificate holds names and numbers; more than this is something else.
_LARGEST = 4 << 20
_SECTIONS = {
    "certificate": int, "microflow": str, "created": str, "input": dict, "output": dict, "descriptor": dict,
    "policy": dict, "method": dict, "counts": dict, "guarantee": dict, "risk": dict, "passed_unprotected": list,
    "thresholds": dict, "verdict": str, "digest": str,
}  # fmt: skip


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
    """Measures of a release by itself: ``rows``, and ``k``, ``l``, ``t`` and ``c`` with the ``unit`` that k counts."""
    rows = _release_of(file, schema)
    of_release = schema.released(Role.RECORD_ID, Role.SENSITIVE)
    found = achieved(Pair.of(of_release, rows, rows, np.arange(rows.num_rows)))
    counted = verified(file, schema, MethodSettings(Method.K_ANONYMITY))
    return {
        "rows": counted.rows,
        "unit": counted.unit,
        "k": counted.k,
        "l": found.l_diversity,
        "c": found.recursive_c,
        "t": {name: round(distance, 6) for name, distance in found.t_closeness.items()},
    }


@dataclass(frozen=True, slots=True)
class ReleaseConstraints(Constraints):
    """Constraints of a release: also the least share of rows that is released, and the greatest average risk.

    ``max_average_risk`` is of the mean of 1 over the size of one's class, as ARX has it; 1 asks for nothing.
    """

    min_released: float = 0.0
    max_average_risk: float = 1.0


@dataclass(frozen=True)
class Made:
    """A release that is not in its place yet (``output``), and everything that was measured of it.

    ``metrics`` is the job's document; ``guarantee`` holds ``rows``, ``unit``, ``k``, ``l``, ``c`` and ``t``, counted on
    the release alone.
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
        """Verdict of the run, with the counts of its rows."""
        return JobVerdict.from_dict(self.metrics["verdict"])

    @property
    def utility(self) -> float:
        """Share of the information that is left, from 0 to 1."""
        return 1 - self.assessment.information_loss

    def failures(self, thresholds: ReleaseConstraints) -> list[str]:
        """Thresholds that are not met, as text."""
        found, attack, share = [], self.assessment.linkage[-1], self.verdict.share_released
        if attack.high > thresholds.max_risk:
            found.append(f"linkage risk {attack} is not within {thresholds.max_risk:g}")
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
        """Verdict of the run and its measurements, as text."""
        risk, rows = self.assessment.linkage[-1], self.guarantee["rows"]
        measured = f"linkage risk {risk}, n = {rows:,}; {self.utility:.1%} of the information is left"
        return [*self.verdict.lines(), measured]

    def to_dict(self, thresholds: ReleaseConstraints) -> dict[str, Any]:
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

    def certificate(self, thresholds: ReleaseConstraints) -> bytes:
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
    if document["descriptor"].get("quasi_identifiers") != [column.name for column in schema.quasi_identifiers]:
        found = ["the schema has other quasi-identifiers than the certificate's"]
    else:
        is_grouped = document["guarantee"].get("k") is not None
        found = mismatches(document, file, _guarantee(file, schema) if is_grouped else counted)
    if found:
        raise CertificateError("; ".join(found), hint="this is not the release that was certified")
    return document


class CertificateError(MicroflowError):
    """A certificate is not one, was changed, or does not belong to the release."""

    exit_status = 1


def fingerprint(path: Path) -> dict[str, Any]:
    """SHA-256 and size in bytes of a file, or of all files of a folder by name.

    Raises:
        InputError: it cannot be read.
    """
    total, digest = 0, hashlib.sha256()
    try:
        if not path.is_dir():
            with path.open("rb") as file:
                return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": file.tell()}
        for part in sorted(file for file in path.rglob("*") if file.is_file()):
            inner = fingerprint(part)
            total += inner["bytes"]
            digest.update(f"{part.relative_to(path).as_posix()}\0{inner['sha256']}\n".encode())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or type(error).__name__}", path=path) from error
    return {"sha256": digest.hexdigest(), "bytes": total}


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of the certificate's canonical form without its digest."""
    rest = {name: value for name, value in document.items() if name != "digest"}
    return hashlib.sha256(_canonical(rest)).hexdigest()


def issue(sections: Mapping[str, Any]) -> bytes:
    """The certificate's bytes from its sections; the version and the digest are added.

    >>> b'"digest"' in issue({"microflow": "1.0"})
    True
    """
    document = {"certificate": VERSION, **sections}
    return _canonical({**document, "digest": digest_of(document)})


def _canonical(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def read_certificate(path: Path) -> dict[str, Any]:
    """Read a certificate that is whole and unchanged.

    Raises:
        InputError: the file cannot be read.
        CertificateError: it is no certificate, of another version, or was changed after it was issued.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise CertificateError(f"{path} is too large for a certificate", hint="name the file that `release` wrote")
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or type(error).__name__}", path=path) from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CertificateError(f"{path} is no certificate: not JSON") from error
    if not isinstance(document, dict) or {name: type(document.get(name)) for name in _SECTIONS} != _SECTIONS:
        raise CertificateError(f"{path} is no certificate: sections are missing or of another type")
    if document["certificate"] != VERSION:
        raise CertificateError(f"{path} is a certificate of version {document['certificate']}, not {VERSION}")
    try:
        is_as_issued = text == _canonical(document) and document["digest"] == digest_of(document)
    except ValueError:  # a number that JSON has no word for
        is_as_issued = False
    if not is_as_issued:
        raise CertificateError(f"{path} was changed after it was issued", hint="ask for the original certificate")
    return document


def mismatches(document: Mapping[str, Any], output: Path, recomputed: Mapping[str, Any]) -> list[str]:
    """Contradictions between a certificate and a release.

    Args:
        document: A certificate from `read_certificate`.
        output: The release it is said to belong to.
        recomputed: What was recomputed from the release alone: ``rows`` and the entries of ``guarantee`` (``k``, ``l``,
            ``t``), where the method has them.

    Returns:
        One sentence for each contradiction; empty where the release is the one certified.
    """
    actual, stated = fingerprint(output), document["output"]
    found = [
        f"the release's {name} is {actual[name]}, the certificate says {stated.get(name)}"
        for name in ("sha256", "bytes")
        if actual[name] != stated.get(name)
    ]
    if recomputed.get("rows") != stated.get("rows"):
        found.append(f"{recomputed.get('rows')} rows were counted, the certificate says {stated.get('rows')}")
    for name in ("k", "l", "t"):
        said, counted = document["guarantee"].get(name), recomputed.get(name)
        if said is not None and said != counted:
            found.append(f"{name} is {counted}, the certificate says {said}")
    if document["verdict"] != "passed":
        found.append(f"the certificate's verdict is {document['verdict']!r}")
    return found
