"""Specification of a job as data, which can be stored, named by a hash, and started again.

A stored job carries a seal: HMAC-SHA-256 (RFC 2104) over its document, paths included, under a key that stays in the
user's state folder, mode 0600. So a user who can write to the database cannot make another user's ``resume`` write
elsewhere: `microflow resume` refuses a document that this user has not sealed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from datetime import date
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

from microflow.anonymize.contract import Method, MethodSettings, Scope
from microflow.engine import ProcessingSpec
from microflow.errors import CheckpointError, SetupError
from microflow.settings import MICROFLOW_ROWS, Settings
from microflow.sources.files import STANDARD, is_folder, is_url

__all__ = ["JobSpec", "StoreRecords", "check_seal", "sealed", "work_hash"]

_SEAL = "seal"
_SEAL_BYTES = 32


class StoreRecords(StrEnum):
    """Values of rows to write to the database. Only ``none`` keeps it free of personal data."""

    NONE = "none"
    """Ordinals, fates, counts and rule names."""
    PROCESSED = "processed"
    """Also the released rows."""
    ORIGINAL = "original"
    """Also the rows as they were read, in a table of their own."""


@dataclass(frozen=True)
class JobSpec:
    """Specification of a job, without secrets: the token key comes from the environment when the job starts.

    ``schema`` and ``policy`` are names of shipped ones or paths; ``policy=None`` is the schema's default.
    ``quarantine`` is where unusable rows go; ``quarantine_raw`` puts their raw text there too.
    """

    input: Path | str
    output: Path | str
    schema: str
    method: MethodSettings
    policy: str | None = None
    pipeline: str = "batch"
    engine: str = "local"
    microflow_rows: int = MICROFLOW_ROWS
    quarantine: Path | None = None
    quarantine_raw: bool = False
    store_records: StoreRecords = StoreRecords.NONE
    job_id: str | None = None
    metrics: Path | None = None
    overwrite: bool = False
    workers: int | None = None
    """Worker processes; ``None``: one a core, and none for a small input."""
    split_bytes: int | None = None
    """Size of a split of the input; ``None``: what suits most."""
    is_stored: bool = False
    """True if the results database knows of it, so that it can be resumed."""

    @property
    def name(self) -> str:
        """The ``job_id`` of a job that runs: it has one."""
        assert self.job_id is not None
        return self.job_id

    def absolute(self) -> JobSpec:
        """Job with absolute paths, so that it can be resumed from any working directory."""

        def settled(name: str | None) -> str | None:
            return str(Path(name).absolute()) if name and Path(name).is_file() else name

        return replace(
            self,
            input=_absolute(self.input),
            output=_absolute(self.output),
            quarantine=self.quarantine and self.quarantine.absolute(),
            metrics=self.metrics and self.metrics.absolute(),
            schema=settled(self.schema) or self.schema,
            policy=settled(self.policy),
        )

    def to_document(self) -> dict[str, Any]:
        """JSON-ready; `from_document` gives an equal spec back."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> JobSpec:
        """Job from the document of `to_document`.

        Raises:
            CheckpointError: written by a version of this package that knew other fields.
        """
        try:
            method = dict(document["method"])
            method |= {"method": Method(method["method"]), "scope": method["scope"] and Scope(method["scope"])}
            places = ("input", "output", "quarantine", "metrics")
            paths = {name: document[name] and _path(document[name]) for name in places}
            stored = StoreRecords(document["store_records"])
            return cls(**{**document, **paths, "store_records": stored, "method": MethodSettings(**method)})
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("the job was stored by another version of Microflow") from error


def work_hash(job: JobSpec, work: ProcessingSpec) -> str:
    """SHA-256 of all that decides the output besides the input: settings, schema and policy *as they are now*, key.

    Of the key only a keyed hash of a fixed text is taken, from which it cannot be computed.
    """
    key_check = "" if work.key is None else hmac.new(work.key, b"microflow key check", "sha256").hexdigest()
    decisive = (
        Path(job.output).suffixes, job.pipeline, job.engine, job.microflow_rows, job.split_bytes, job.store_records,
        job.quarantine_raw,
        work.schema, work.policy, work.method, key_check,
    )  # fmt: skip
    return hashlib.sha256(json.dumps(_plain(decisive), sort_keys=True).encode()).hexdigest()


def _absolute(place: Path | str) -> Path | str:
    """The place whatever the working directory; standard streams and addresses stay as they are."""
    if str(place) == STANDARD or is_url(place):
        return place
    return f"{Path(place).absolute()}/" if is_folder(place) else Path(place).absolute()


def _path(text: str) -> Path | str:
    return text if is_url(text) or is_folder(text) else Path(text)


def _plain(value: Any) -> Any:
    """Settings as JSON that is the same in every process: sets sorted, objects as their fields."""
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, {field.name: _plain(getattr(value, field.name)) for field in fields(value)}]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    plain = value.value if isinstance(value, Enum) else value
    return str(plain) if isinstance(plain, Path | date) else plain


def sealed(job_id: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its seal."""
    key = _seal_key(create=True)
    assert key is not None
    return {**document, _SEAL: _seal(job_id, document, key)}


def check_seal(job_id: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without its seal, once that has been found to be this user's.

    Raises:
        CheckpointError: the document was changed, or another user or machine began the job.
    """
    rest = {name: value for name, value in document.items() if name != _SEAL}
    seal = document.get(_SEAL)
    key = _seal_key(create=False)
    if key is None or not isinstance(seal, str) or not hmac.compare_digest(seal, _seal(job_id, rest, key)):
        raise CheckpointError(
            f"job {job_id} was not begun by this user, or its paths or settings were changed in the database",
            hint="resume it as the user who began it (with the same MICROFLOW_STATE), or run it again",
        )
    return rest


def _seal(job_id: str, document: Mapping[str, Any], key: bytes) -> str:
    text = json.dumps([job_id, document], sort_keys=True, separators=(",", ":"))
    return hmac.digest(key, text.encode(), hashlib.sha256).hex()


def _seal_key(*, create: bool) -> bytes | None:
    """This user's key, made on first use."""
    path = Settings.read().state_folder / "job-seal.key"
    try:
        if create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _create_key(path)
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise SetupError(f"{path} may be read by others", hint=f"chmod 600 {path}")
            key = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(
            f"{path} cannot be used: {error.strerror}", hint="set MICROFLOW_STATE to a folder of yours"
        ) from error
    if len(key) != _SEAL_BYTES:
        raise SetupError(f"{path} is damaged", hint="remove it; jobs begun before cannot be resumed then")
    return key


def _create_key(path: Path) -> None:
    """Write the key beside its place and link it there: of two processes one wins, and none sees half a key."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_SEAL_BYTES))
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()
