"""Fetches pinned jars from Maven Central by Maven itself into a cache, and checks them against kept checksums.

A set of jars is a pair of files in ``poms``: ``NAME.xml`` (what, in which version) and ``NAME.sha256`` (what must have
arrived). ``python -m microflow.jvm.maven NAME`` writes the checksums anew after a version was changed on purpose.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import click

from microflow.errors import SetupError
from microflow.jvm.java import java_environment
from microflow.settings import Settings

__all__ = ["jars"]

#: How long Maven may take, in seconds, on a slow line.
PATIENCE_S = 900


def jars(name: str) -> list[Path]:
    """The jars of the set ``name`` (``storm`` or ``kafka``), fetched on first use; sorted by file name.

    Raises:
        SetupError: Maven or the network is missing, or a jar is not the one whose checksum is kept.
    """
    folder = _folder(name)
    expected = _checksums(name)
    if not folder.is_dir():
        _fetch(name, folder)
    found = sorted(folder.glob("*.jar"))
    if {jar.name: _sha256(jar) for jar in found} != expected:
        shutil.rmtree(folder)
        raise SetupError(
            f"the {name} jars are not the ones whose checksums are kept",
            hint="the cache was emptied; run again, and if it persists do not trust the mirror they come from",
        )
    return found


def _folder(name: str) -> Path:
    """One cache folder for each content of the pom: a changed version never meets old jars."""
    version = hashlib.sha256(_pom(name).encode()).hexdigest()[:12]
    return Settings.read().state_folder / "jars" / f"{name}-{version}"


def _fetch(name: str, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise SetupError(f"Maven is needed to fetch {name}", hint="install Maven 3.8 or newer: 'apt install maven'")
    partial = folder.with_suffix(f".{os.getpid()}")
    partial.mkdir(parents=True)
    pom = partial / "pom.xml"
    pom.write_text(_pom(name), "utf-8")
    command = [maven, "--batch-mode", "--quiet", "--file", str(pom), f"-Djars={partial}", "package"]
    try:
        done = subprocess.run(
            command, env=java_environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        if done.returncode != 0:
            said = next((line for line in done.stdout.splitlines() if "ERROR" in line), "no reason given")
            raise SetupError(f"Maven could not fetch {name}: {said[:300]}", hint="is Maven Central reachable?")
        if not folder.is_dir():  # another process may have been faster
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _pom(name: str) -> str:
    return resources.files(__package__).joinpath("poms", f"{name}.xml").read_text("utf-8")


def _checksums(name: str) -> dict[str, str]:
    text = resources.files(__package__).joinpath("poms", f"{name}.sha256").read_text("utf-8")
    return {jar: digest for digest, jar in (line.split() for line in text.splitlines())}


def _sha256(jar: Path) -> str:
    with jar.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(name: str) -> None:
    """Write the checksums of what Maven fetches today."""
    folder = _folder(name)
    if not folder.is_dir():
        _fetch(name, folder)
    lines = [f"{_sha256(jar)}  {jar.name}" for jar in sorted(folder.glob("*.jar"))]
    (Path(__file__).parent / "poms" / f"{name}.sha256").write_text("\n".join(lines) + "\n", "utf-8")
    click.echo(f"{len(lines)} checksums of {name} kept")


if __name__ == "__main__":
    main(sys.argv[1])
