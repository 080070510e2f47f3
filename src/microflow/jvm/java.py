"""Finds Java 17 or newer, or installs it where that is possible.

Spark 4, Storm 2.8 and Kafka 4 all need 17. The order is: ``JAVA_HOME``, the ``PATH``, what an earlier set-up installed.
``python -m microflow.jvm.java`` is the set-up's step: it finds or installs, or ends with one clear error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from microflow.errors import SetupError
from microflow.settings import Settings, child_environment

__all__ = ["MINIMUM_JAVA", "find_java", "install_java", "java_environment"]

#: The oldest Java that Spark 4 runs on.
MINIMUM_JAVA = 17

_REMEDY = (
    "install a JDK 17 or newer and put it on the PATH or in JAVA_HOME: "
    "'apt install openjdk-17-jre-headless' (Debian, Ubuntu), 'brew install openjdk@17' (macOS), "
    "'conda install -c conda-forge openjdk=17', or 'winget install EclipseAdoptium.Temurin.17.JDK' (Windows); "
    "everything but Spark, Storm and Kafka works without"
)


def find_java() -> Path:
    """The ``java`` executable of the first suitable installation.

    Raises:
        SetupError: there is none; the hint says how to get one on each platform.
    """
    too_old = []
    for candidate in _candidates():
        version = _version(candidate)
        if version is not None and version >= MINIMUM_JAVA:
            return candidate
        if version is not None:
            too_old.append(f"{candidate} is Java {version}")
    found = f"; {too_old[0]}" if too_old else ""
    raise SetupError(f"Java {MINIMUM_JAVA} or newer was not found{found}", hint=_REMEDY)


def java_environment() -> dict[str, str]:
    """What a child of ours may know of its environment, with ``JAVA_HOME`` set to the Java that `find_java` chose."""
    home = find_java().resolve().parent.parent
    return child_environment(JAVA_HOME=str(home), PATH=f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")


def install_java() -> Path:
    """Find Java, or install it: by the Adoptium builds into the state folder, or as root by Debian's packages.

    Raises:
        SetupError: neither way is open on this machine.
    """
    try:
        return find_java()
    except SetupError as missing:
        for way in (_by_adoptium, _by_debian):
            if way():
                return find_java()
        raise missing from None


def _candidates() -> Iterator[Path]:
    name = "java.exe" if os.name == "nt" else "java"
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / name
    if on_path := shutil.which("java"):
        yield Path(on_path)
    yield from sorted(_jdk_folder().glob(f"*/bin/{name}"))
    yield from sorted(_jdk_folder().glob(f"*/Contents/Home/bin/{name}"))


def _jdk_folder() -> Path:
    return Settings.read().state_folder / "jdk"


def _version(java: Path) -> int | None:
    """The feature release, e.g. 17; Java 8 calls itself 1.8."""
    try:
        said = subprocess.run(
            [java, "-version"], env=child_environment(), capture_output=True, text=True, timeout=30, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(match[1]) if match else None


def _by_adoptium() -> bool:
    import jdk  # imported here: only the set-up needs it

    try:
        jdk.install(str(MINIMUM_JAVA), jre=True, path=str(_jdk_folder()))
    except (OSError, jdk.JdkError):
        return False
    return True


def _by_debian() -> bool:
    if os.name == "nt" or os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    environment = child_environment(**proxies, DEBIAN_FRONTEND="noninteractive")
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "openjdk-17-jre-headless"]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, check=False)  # noqa: S607
        if done.returncode != 0:
            return False
    return True


def main() -> None:
    """The set-up's step: say which Java will be used, or end with one clear error."""
    try:
        click.echo(f"Java: {install_java()}")
    except SetupError as error:
        click.echo(f"error: {error.message}\nhint: {error.hint}", err=True)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
