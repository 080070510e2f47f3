"""What is promised, what is locked and what conda installs are the same versions; and no registry is named."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", ROOT / ".ci" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_direct_dependency_is_locked(lock: ModuleType) -> None:
    """A dependency added to pyproject.toml alone would be missing on a fresh clone."""
    assert lock.direct_dependencies() <= set(lock.locked(ROOT / "requirements.lock"))


def test_conda_pins_the_same_versions(lock: ModuleType) -> None:
    """environment.yml and the lock say one version for every package both name, and both name all direct ones."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    lines = [line for line in listed if isinstance(line, str)] + next(x for x in listed if isinstance(x, dict))["pip"]
    pinned = dict(re.split("==?", line) for line in lines if "=" in line)
    pins = lock.locked(ROOT / "requirements.lock")
    for name in lock.direct_dependencies():
        assert pinned[lock.CONDA_NAMES.get(name, name)] == pins[name]
    assert {"python", "openjdk", "postgresql"} <= set(pinned)


def test_the_lock_has_hashes_and_names_no_host() -> None:
    """Every pin carries a hash, so that any mirror may serve it; the address of none is written down."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    pins = re.findall(r"^[a-z0-9][^\n]*==.*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(pins) > 100
    assert all("--hash=sha256:" in pin for pin in pins)
    assert "://" not in text
