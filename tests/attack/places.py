"""Places that cannot be written and disks that are full, for everything that writes; and SIGTERM at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from attack.stand import PATIENCE_S, Outcome, judge, microflow

__all__ = ["cases"]

#: Where nothing can be made, and what the system says of each.
_NOWHERE = {
    "no folder": ("none/file", "folder is not there|No such file"),
    "a folder itself": (".", "directory"),
    "a system's folder": ("/proc/file", "No such file|Permission|not permitted"),
    "a full device": ("/dev/full", "No space left"),
    "a name too long": ("x" * 250, "too long"),
}
_SCHEMA = "healthcare"
_TOKENS = ("--schema", _SCHEMA, "--method", "tokenization")
_ROWS = 3_000

Command = tuple[str | Path, ...]


def cases(folder: Path, word: str = "") -> Iterator[Outcome]:
    """Every command that writes, with every place; then a limit to files' sizes; then SIGTERM."""
    folder = folder / "places"
    folder.mkdir()
    microflow("generate", _SCHEMA, "in.csv", "--rows", str(_ROWS), "--truth", "truth.csv", folder=folder)
    release = ("--reversible", "--no-database")
    microflow("run", "in.csv", "released.csv", *_TOKENS, *release, folder=folder)
    job = f"places-{os.getpid()}"
    microflow("run", "in.csv", "stored.csv", *_TOKENS, "--job", job, folder=folder)
    commands = _commands(job)
    for name, command in commands.items():
        for place, (path, _) in _NOWHERE.items():
            if word in (case := f"{name}: {place}"):
                yield _refused(folder, case, command, path)
        if word in (case := f"{name}: a full disk"):
            yield _full(folder, case, command)
    for name in ("generate", "run", "run, two workers", "detokenize", "release"):
        for after in (0.7, 1.2, 1.8):
            if word in (case := f"SIGTERM: {name} after {after} s"):
                yield _terminated(folder, case, name, after)


def _commands(job: str) -> dict[str, Command]:
    """Commands by what they write; the place stands for ``@``."""
    run = ("run", "in.csv", "out.csv", *_TOKENS, "--no-database", "--overwrite")
    return {
        "generate": ("generate", _SCHEMA, "@", "--rows", "2000"),
        "generate --truth": ("generate", _SCHEMA, "again.csv", "--rows", "2000", "--truth", "@"),
        "run": ("run", "in.csv", "@", *_TOKENS, "--no-database", "--overwrite"),
        "run --quarantine": (*run, "--quarantine", "@"),
        "run --metrics": (*run, "--metrics", "@"),
        "detokenize": ("detokenize", "released.csv", "@", "--schema", _SCHEMA, "--overwrite"),
        "describe": ("describe", "in.csv", "--output", "@", "--overwrite"),
        "verify --json": ("verify", "in.csv", "--schema", _SCHEMA, "--k", "2", "--json", "@"),
        "assess --json": ("assess", "in.csv", "released.csv", "--schema", _SCHEMA, "--json", "@", "--attempts", "20"),
        "report": ("report", job, "--output", "@"),
        "experiments export": ("experiments", "export", "@"),
    }


def _refused(folder: Path, case: str, command: Command, path: str) -> Outcome:
    """One clear error with the system's reason, or a place that takes it; no file is left beside it."""
    kind = ".csv" if command[0] in {"generate", "run", "detokenize"} and path not in {".", "/dev/full"} else ""
    place = f"{path}{kind}"
    before = _listing(folder)
    ended = microflow(*(place if word == "@" else word for word in command), folder=folder)
    outcome = judge(case, ended)
    faults = list(outcome.faults)
    if ended.status == 0 and "warning" not in ended.said and not Path(folder, place).exists():
        faults.append("status 0, and nothing was written")
    faults += [f"left {name}" for name in sorted(_hidden(_listing(folder) - before))]
    return Outcome(case, outcome.leaks, tuple(faults), outcome.cost)


def _full(folder: Path, case: str, command: Command) -> Outcome:
    """No file may grow beyond 700 bytes."""
    before = _listing(folder)
    place = "full.csv" if command[0] in {"generate", "run", "detokenize"} else "full.out"
    ended = microflow(*(place if word == "@" else word for word in command), folder=folder, largest_file=700)
    outcome = judge(case, ended)
    faults = [*outcome.faults, *(f"left {name}" for name in sorted(_hidden(_listing(folder) - before)))]
    if ended.status == 2 and "File too large" not in ended.said:
        faults.append("no reason given")
    return Outcome(case, outcome.leaks, tuple(faults), outcome.cost)


def _terminated(folder: Path, case: str, name: str, after: float) -> Outcome:
    """SIGTERM: the status says so, and nothing is left that no job can be resumed from."""
    command: Command = {
        "generate": ("generate", _SCHEMA, "term.csv", "--rows", "3000000"),
        "run": ("run", "big.csv", "term.csv", *_TOKENS, "--no-database", "--overwrite"),
        "run, two workers": ("run", "big.csv", "term.csv", *_TOKENS, "--no-database", "--overwrite", "--workers", "2"),
        "detokenize": ("detokenize", "big.csv", "term.csv", "--schema", _SCHEMA, "--overwrite"),
        "release": ("release", "big.csv", "term.csv", *_TOKENS, "--overwrite"),
    }[name]
    if not (folder / "big.csv").exists():
        microflow("generate", _SCHEMA, "many.csv", "--rows", "300000", folder=folder)
        microflow("run", "many.csv", "big.csv", *_TOKENS, "--reversible", "--no-database", folder=folder)
    before = _listing(folder)
    environment = {**os.environ, "MICROFLOW_TOKEN_KEY": "5e" * 32}
    process = subprocess.Popen(
        [sys.executable, "-m", "microflow", *map(str, command)], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    time.sleep(after)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    said, _ = process.communicate(timeout=PATIENCE_S)
    faults = []
    # Before Python has come as far as the command line, the signal ends it as any other process.
    if process.returncode not in {0, 128 + signal.SIGTERM, -signal.SIGTERM}:
        faults.append(f"status {process.returncode}")
    if "Traceback" in said:
        faults.append("traceback")
    faults += [f"left {name}" for name in sorted(_hidden(_listing(folder) - before))]
    return Outcome(case, faults=tuple(faults), cost=f"{time.monotonic() - started:5.1f} s")


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _hidden(names: set[str]) -> set[str]:
    return {name for name in names if Path(name).name.startswith(".") or name.endswith((".partial", ".lock"))}
