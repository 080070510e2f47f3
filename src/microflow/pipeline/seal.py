"""The seal of a stored job: whoever can write to the database cannot make another user's ``resume`` write elsewhere.

A job's document (paths included) is bound by HMAC-SHA-256 (RFC 2104) under a key that stays in the user's state folder,
mode 0600. `microflow resume` refuses a document that this user has not sealed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microflow.errors import CheckpointError, SetupError
from microflow.settings import Settings

__all__ = ["check_seal", "sealed"]

_FIELD = "seal"
_KEY_BYTES = 32


def sealed(job_id: str, document: Mapping[str, Any], *, folder: Path | None = None) -> dict[str, Any]:
    """The document with its seal; ``folder`` holds the key (the state folder unless given; tests name one)."""
    return {**document, _FIELD: _seal(job_id, document, _key(folder, create=True))}


def check_seal(job_id: str, document: Mapping[str, Any], *, folder: Path | None = None) -> dict[str, Any]:
    """The document without its seal, once that has been found to be this user's.

    Raises:
        CheckpointError: the document was changed, or another user or machine began the job.
    """
    rest = {name: value for name, value in document.items() if name != _FIELD}
    seal = document.get(_FIELD)
    key = _key(folder, create=False)
    if key is None or not isinstance(seal, str) or not hmac.compare_digest(seal, _seal(job_id, rest, key)):
        raise CheckpointError(
            f"job {job_id} was not begun by this user, or its paths or settings were changed in the database",
            hint="resume it as the user who began it (with the same MICROFLOW_STATE), or run it again",
        )
    return rest


def _seal(job_id: str, document: Mapping[str, Any], key: bytes | None) -> str:
    assert key is not None
    text = json.dumps([job_id, document], sort_keys=True, separators=(",", ":"))
    return hmac.digest(key, text.encode(), hashlib.sha256).hex()


def _key(folder: Path | None, *, create: bool) -> bytes | None:
    """This user's key, made on first use."""
    path = (folder or Settings.read().state_folder) / "job-seal.key"
    try:
        if create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _create(path)
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
    if len(key) != _KEY_BYTES:
        raise SetupError(f"{path} is damaged", hint="remove it; jobs begun before cannot be resumed then")
    return key


def _create(path: Path) -> None:
    """Write the key beside its place and link it there: of two processes one wins, and none sees half a key."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()
