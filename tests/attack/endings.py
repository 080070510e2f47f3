"""SIGTERM and Ctrl-C at any moment: the status says so, and nothing is left that no job can be resumed from."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from attack.stand import Outcome, microflow

__all__ = ["cases", "interrupted"]

_SCHEMA = "healthcare"
_TOKENS = ("--schema", _SCHEMA, "--method", "tokenization")
_FREE = ("--no-database", "--overwrite")
#: Commands that take seconds, so that a signal finds them anywhere; a stream waits for more records until it comes.
COMMANDS = {
    "generate": ("generate", _SCHEMA, "term.csv", "--rows", "3000000", "--overwrite"),
    "run": ("run", "big.csv", "term.csv", *_TOKENS, *_FREE),
    "run, two workers": ("run", "big.csv", "term.csv", *_TOKENS, *_FREE, "--workers", "2"),
    "run, small": ("run", "in.csv", "term.csv", *_TOKENS, *_FREE),
    "stream": ("stream", "-", "term.jsonl", *_TOKENS),
    "describe": ("describe", "in.csv", "-o", "term.yaml", "--overwrite"),
    "detokenize": ("detokenize", "big.csv", "term.csv", "--schema", _SCHEMA, "--overwrite"),
    "detokenize, small": ("detokenize", "tokens.csv", "term.csv", "--schema", _SCHEMA, "--overwrite"),
    "assess": ("assess", "in.csv", "tokens.csv", "--schema", _SCHEMA, "--json", "term.json", "--attempts", "20"),
    "recommend": ("recommend", "in.csv", "--schema", _SCHEMA, "--html", "term.html"),
    "release": ("release", "big.csv", "term.csv", *_TOKENS, "--overwrite"),
}
_OUTPUT = ("term.", ".term.jsonl.stream")
#: Moments of each command, and when, in seconds after the start: before, Ctrl-C finds Python itself starting.
_MOMENTS, _FIRST_S, _LAST_S = 4, 0.3, 3.0
#: Seconds within which a command ends, if the machine has nothing else to do.
_SOON_S = 10 * float(os.environ.get("MICROFLOW_PATIENCE", "1"))


def cases(folder: Path, word: str = "") -> Iterator[Outcome]:
    """Every command at random moments, by both signals in turn."""
    draw = random.Random(7)
    for name in COMMANDS:
        for turn in range(_MOMENTS):
            number = (signal.SIGTERM, signal.SIGTERM, signal.SIGINT)[turn % 3]
            after = draw.uniform(_FIRST_S, _LAST_S)
            if word in (case := f"{number.name}: {name} after {after:.2f} s"):
                yield interrupted(folder, case, name, number, after)


def _inputs(folder: Path) -> Path:
    folder = folder / "endings"
    if not folder.exists():
        (folder / "temporary").mkdir(parents=True)
        for given, tokens, rows in (("in.csv", "tokens.csv", "2000"), ("many.csv", "big.csv", "300000")):
            microflow("generate", _SCHEMA, given, "--rows", rows, folder=folder)
            microflow("run", given, tokens, *_TOKENS, "--reversible", "--no-database", folder=folder)
    return folder


def interrupted(folder: Path, case: str, name: str, number: signal.Signals, after: float) -> Outcome:
    """How a command ends that gets a signal so many seconds after its start."""
    folder = _inputs(folder)
    temporary = folder / "temporary"
    before = _listing(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "microflow", *COMMANDS[name]], cwd=folder, text=True,
        env={**os.environ, "MICROFLOW_TOKEN_KEY": "5e" * 32, "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    family: set[psutil.Process] = set()
    until = time.monotonic() + after
    with suppress(psutil.NoSuchProcess):
        while time.monotonic() < until:
            family |= set(psutil.Process(process.pid).children(recursive=True))
            time.sleep(0.02)
    process.send_signal(number)
    started = time.monotonic()
    faults = []
    # The pipe stays open, as the one of a program that goes on writing does.
    with suppress(subprocess.TimeoutExpired):
        process.wait(_SOON_S)
    seconds = time.monotonic() - started
    if process.poll() is None:
        faults.append(f"still there after {_SOON_S:.0f} s")
        process.kill()
    said, _ = process.communicate()
    # Before a command has begun, the signal ends it as any other process.
    if process.returncode not in {0, 128 + number, -number}:
        faults.append(f"status {process.returncode}")
    if "Traceback" in said:
        faults.append("traceback")
    _, alive = psutil.wait_procs(family, timeout=_SOON_S)
    faults += [f"left process {one.name()}" for one in alive]
    # A stream keeps where it stands beside its output.
    faults += [f"left {left}" for left in sorted(_listing(folder) - before) if not left.startswith(_OUTPUT)]
    for begin in _OUTPUT:
        for left in folder.glob(f"{begin}*"):
            left.unlink()
    return Outcome(case, faults=tuple(faults), cost=f"{process.returncode:4} {seconds:5.1f} s")


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
