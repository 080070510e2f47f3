"""A certificate and its release belong together to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from advise.mutations import accepted_mutations
from microflow.advise.release import CertificateError, fingerprint, issue, mismatches, read_certificate
from microflow.errors import InputError

RELEASE = b"age,zip\n30-39,021*\n30-39,021*\n"


@pytest.fixture
def released(tmp_path: Path) -> tuple[Path, Path]:
    output, certificate = tmp_path / "out.csv", tmp_path / "out.certificate.json"
    output.write_bytes(RELEASE)
    sections = {
        "microflow": "1.0", "created": "2026-11-29", "input": {"sha256": "0" * 64, "rows": 2},
        "output": {**fingerprint(output), "rows": 2}, "descriptor": {"sha256": "1" * 64}, "policy": {"name": "hipaa"},
        "method": {"method": "k_anonymity", "k": 2}, "counts": {"read": 2, "released": 2},
        "guarantee": {"k": 2, "l": None, "t": None, "unit": "rows"}, "risk": {"linkage": 0.25},
        "passed_unprotected": ["triage"], "thresholds": {"max_risk": 0.3}, "verdict": "passed",
    }  # fmt: skip
    certificate.write_bytes(issue(sections))
    return output, certificate


def test_the_certified_release_is_accepted(released: tuple[Path, Path]) -> None:
    """Nothing is contradicted where nothing was changed."""
    output, certificate = released
    assert mismatches(read_certificate(certificate), output, {"rows": 2, "k": 2}) == []


def test_no_mutation_is_accepted(tmp_path: Path) -> None:
    """Bytes, lines and values of a release and its certificate, changed by seed; all 1,000 are for `make faults`."""
    assert accepted_mutations(tmp_path, 60, seed=2) == []


def test_a_weaker_release_is_named(released: tuple[Path, Path]) -> None:
    """The recomputed k speaks, whatever the certificate says."""
    output, certificate = released
    (found,) = mismatches(read_certificate(certificate), output, {"rows": 2, "k": 1})
    assert found == "k is 1, the certificate says 2"


def test_another_json_document_is_refused(tmp_path: Path) -> None:
    """One line, whatever lies there: other JSON, no JSON, nothing."""
    other = tmp_path / "other.json"
    for text in ("[]", "{}", "{", '{"certificate": 1}', "[" * 100_000, ""):
        other.write_text(text)
        with pytest.raises(CertificateError):
            read_certificate(other)
    with pytest.raises(InputError):
        read_certificate(tmp_path / "absent.json")


def test_a_folder_has_a_fingerprint_of_its_parts(tmp_path: Path) -> None:
    """Names and contents of parts count, the order in which the system lists them does not."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "b.csv").write_text("1")
    (folder / "a.csv").write_text("2")
    first = fingerprint(folder)
    (folder / "b.csv").rename(folder / "c.csv")
    assert fingerprint(folder)["sha256"] != first["sha256"]
    assert first["bytes"] == 2
