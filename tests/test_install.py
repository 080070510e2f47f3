"""The package as a person installs it: the wheel alone, in an environment of its own, without any extra."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: What belongs to extras and must not come with the core.
EXTRAS = ("sqlalchemy", "psycopg2", "pyspark", "pandas", "matplotlib", "jupyterlab", "scipy", "sklearn")


def command(*words: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run([*map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a fresh environment that holds the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("install")
    built = command(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    assert command(sys.executable, "-m", "uv", "venv", "--python", sys.executable, folder / "env").returncode == 0
    programs = folder / "env" / "bin"
    done = command(sys.executable, "-m", "uv", "pip", "install", "--python", programs / "python", wheel)
    if done.returncode != 0:
        if os.environ.get("CI"):
            pytest.fail(done.stderr)
        pytest.skip("no package index can be reached from here")
    return programs


def test_a_file_is_released_without_any_extra(installed: Path, tmp_path: Path) -> None:
    """Generate, run and verify on CSV; a command that needs an extra says which one in a line."""
    absent = f"import importlib.util as u; assert not [n for n in {EXTRAS!r} if u.find_spec(n)]"
    assert command(installed / "python", "-c", absent).returncode == 0
    microflow = installed / "microflow"
    for words in (
        ("generate", "healthcare", "in.csv", "--rows", "500"),
        ("run", "in.csv", "out.csv", "--schema", "healthcare", "--method", "k_anonymity", "--k", "5", "--no-database"),
        ("verify", "out.csv", "--schema", "healthcare", "--k", "5"),
        ("policy", "show", "hipaa"),
    ):
        done = command(microflow, *words, folder=tmp_path)
        assert done.returncode == 0, f"{words}: {done.stderr}"
    refused = command(microflow, "jobs", folder=tmp_path)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "[database]" in refused.stderr
