"""A release certificate: what was released, how it was protected, and what can be recomputed from the release alone.

The certificate is canonical JSON (sorted keys, fixed indentation) with a SHA-256 digest over everything else in it: a
file that differs from its own canonical form by one byte is refused, and so is a release whose hash, number of rows,
k, l or t differ from what is stated. It proves that certificate and release belong together and were not changed by
accident or by somebody who changes one of them; it is no signature: a person who can replace both can forge both. Keep
or sign it where the release cannot be written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from microflow.errors import InputError, MicroflowError

__all__ = ["CertificateError", "digest_of", "fingerprint", "issue", "mismatches", "read_certificate"]

VERSION: Final = 1
_CHUNK = 1 << 20
#: A certificate holds names and numbers; more than this is something else.
_LARGEST = 4 << 20
_SECTIONS = {
    "certificate": int, "microflow": str, "created": str, "input": dict, "output": dict, "descriptor": dict,
    "policy": dict, "method": dict, "counts": dict, "guarantee": dict, "risk": dict, "passed_unprotected": list,
    "thresholds": dict, "verdict": str, "digest": str,
}  # fmt: skip


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
            for chunk in _chunks(path):
                total += len(chunk)
                digest.update(chunk)
            return {"sha256": digest.hexdigest(), "bytes": total}
        for part in sorted(file for file in path.rglob("*") if file.is_file()):
            inner = fingerprint(part)
            total += inner["bytes"]
            digest.update(f"{part.relative_to(path).as_posix()}\0{inner['sha256']}\n".encode())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or type(error).__name__}", path=path) from error
    return {"sha256": digest.hexdigest(), "bytes": total}


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


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
    """What the release contradicts.

    Args:
        document: A certificate from `read_certificate`.
        output: The release it is said to belong to.
        recomputed: What was recomputed from the release alone: ``rows`` and the entries of ``guarantee`` (``k``, ``l``,
            ``t``), where the method has them.

    Returns:
        One sentence for each contradiction; empty where the release is the one certified.
    """
    found = []
    actual = fingerprint(output)
    found += [
        f"the release's {name} is {actual[name]}, the certificate says {document['output'].get(name)}"
        for name in ("sha256", "bytes")
        if actual[name] != document["output"].get(name)
    ]
    if recomputed.get("rows") != document["output"].get("rows"):
        found.append(
            f"{recomputed.get('rows')} rows were counted, the certificate says {document['output'].get('rows')}"
        )
    for name in ("k", "l", "t"):
        stated, counted = document["guarantee"].get(name), recomputed.get(name)
        if stated is not None and stated != counted:
            found.append(f"{name} is {counted}, the certificate says {stated}")
    if document["verdict"] != "passed":
        found.append(f"the certificate's verdict is {document['verdict']!r}")
    return found
