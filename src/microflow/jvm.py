"""Java and jars for Spark, Storm and Kafka: Java 17 or newer, and pinned jars.

Java is looked for in ``JAVA_HOME``, on the ``PATH``, and in what an earlier set-up installed. ``python -m
microflow.jvm`` is the set-up's step: it finds or installs Java, or ends with one clear error.

A set of jars is a pair of files in ``poms``: ``NAME.xml`` (what, in which version) and ``NAME.sha256`` (what must have
arrived). Maven fetches a set from Maven Central on first use. ``python -m microflow.jvm NAME`` writes the checksums
again after a version was changed on purpose.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import click

from microflow.errors import SetupError
from microflow.settings import Settings, child_environment

__all__ = [
    "MINIMUM_JAVA", "find_java", "free_ports", "install_java", "jars", "java_environment", "missing_java", "start_java",
]  # fmt: skip

#: The oldest Java that Spark 4 runs on; Storm 2.8 and Kafka 4 need no newer one.
MINIMUM_JAVA = 17
#: How long Maven may take, in seconds, on a slow line.
PATIENCE_S = 900

_POMS = Path(__file__).parent / "poms"
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


def missing_java(jar_set: str = "") -> str:
    """Reason why Java, or a set of jars, is missing here; empty if it is there. Jars not in the cache are fetched."""
    try:
        find_java()
        if jar_set:
            jars(jar_set)
    except SetupError as error:
        return str(error)
    return ""


def java_environment() -> dict[str, str]:
    """Environment of a child process, with ``JAVA_HOME`` set to the Java that `find_java` chose."""
    home = find_java().resolve().parent.parent
    return child_environment(JAVA_HOME=str(home), PATH=f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")


def start_java(
    name: str, words: Sequence[str], log: IO[bytes], folder: Path, **environment: str
) -> subprocess.Popen[bytes]:
    """Start a program of the jars ``name`` in a folder: options, class and arguments; all it says goes to a log.

    It is for runs of seconds: the optimising compiler would take cores from other work and have nothing to give back.
    The rate is the same without it, within noise, and a third of the processor time of a start is saved.

    Raises:
        SetupError: no Java, or no jars.
    """
    options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", os.pathsep.join(map(str, jars(name)))]
    return subprocess.Popen(
        [str(find_java()), *options, *words],
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=child_environment(**environment),
    )


def free_ports(count: int) -> list[int]:
    """Ports of this machine's loopback that nothing listens on, all different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


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
    installed = Settings.read().state_folder / "jdk"
    yield from sorted(installed.glob(f"*/bin/{name}"))
    yield from sorted(installed.glob(f"*/Contents/Home/bin/{name}"))


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
        jdk.install(str(MINIMUM_JAVA), jre=True, path=str(Settings.read().state_folder / "jdk"))
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


def jars(name: str) -> list[Path]:
    """The jars of the set ``name`` (``storm`` or ``kafka``), fetched on first use; sorted by file name.

    Raises:
        SetupError: Maven or the network is missing, or a jar is not the one whose checksum is kept.
    """
    folder = _folder(name)
    kept = (_POMS / f"{name}.sha256").read_text("utf-8").splitlines()
    if not folder.is_dir():
        _fetch(name, folder)
    found = sorted(folder.glob("*.jar"))
    if {f"{_sha256(jar)}  {jar.name}" for jar in found} != set(kept):
        shutil.rmtree(folder)
        raise SetupError(
            f"the {name} jars are not the ones whose checksums are kept",
            hint="the cache was emptied; run again, and if it persists do not trust the mirror they come from",
        )
    return found


def _folder(name: str) -> Path:
    """One cache folder for each content of the pom: a changed version never meets old jars."""
    version = hashlib.sha256((_POMS / f"{name}.xml").read_bytes()).hexdigest()[:12]
    return Settings.read().state_folder / "jars" / f"{name}-{version}"


def _fetch(name: str, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise SetupError(f"Maven is needed to fetch {name}", hint="install Maven 3.8 or newer: 'apt install maven'")
    partial = folder.with_suffix(f".{os.getpid()}")
    partial.mkdir(parents=True)
    pom = shutil.copy(_POMS / f"{name}.xml", partial / "pom.xml")  # an installed package may be read-only
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


def _sha256(jar: Path) -> str:
    with jar.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(name: str | None = None) -> None:
    """Say which Java will be used, or end with one clear error; with a name, write that set's checksums."""
    try:
        if name is None:
            click.echo(f"Java: {install_java()}")
            return
        folder = _folder(name)
        if not folder.is_dir():
            _fetch(name, folder)
    except SetupError as error:
        click.echo(f"error: {error.message}\nhint: {error.hint}", err=True)
        sys.exit(error.exit_status)
    lines = [f"{_sha256(jar)}  {jar.name}" for jar in sorted(folder.glob("*.jar"))]
    (_POMS / f"{name}.sha256").write_text("\n".join(lines) + "\n", "utf-8")
    click.echo(f"{len(lines)} checksums of {name} kept")


if __name__ == "__main__":
    main(*sys.argv[1:])
