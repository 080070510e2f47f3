"""Places that cannot be written and disks that are full, for everything that writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attack.stand import Outcome, judge, microflow

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
    """Every command that writes, with every place; then a limit to files' sizes."""
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


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _hidden(names: set[str]) -> set[str]:
    return {name for name in names if Path(name).name.startswith(".") or name.endswith((".partial", ".lock"))}
