"""Executes the notebooks by Papermill: every parameter must reach its notebook, and a failing cell fails the run."""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from microflow.errors import InputError, MicroflowError

__all__ = ["execute", "parameters_of"]


def parameters_of(notebook: Path) -> dict[str, str]:
    """The parameters that a notebook declares in its ``parameters`` cell, with their defaults as source text.

    Raises:
        InputError: there is no such notebook.
    """
    if not notebook.is_file():
        raise InputError("no such notebook", path=notebook, hint="run this from the folder that holds notebooks/")
    from papermill import inspect_notebook

    return {name: found["default"] for name, found in inspect_notebook(str(notebook)).items()}


def execute(notebook: Path, parameters: dict[str, Any], folder: Path) -> Path:
    """Run one notebook with these parameters, write the executed copy into ``folder`` and return its path.

    Raises:
        InputError: there is no such notebook, or it does not declare one of the parameters.
        MicroflowError: a cell failed; the executed copy shows which.
    """
    # Papermill itself only logs a parameter that nobody reads, and the run would be another than the one asked for.
    if unknown := parameters.keys() - parameters_of(notebook).keys():
        raise InputError(f"parameter {min(unknown)!r} does not reach its notebook", path=notebook)
    from papermill import PapermillExecutionError, execute_notebook

    logging.getLogger("papermill").setLevel(logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / notebook.name
    try:
        with _aside() as said:
            execute_notebook(
                str(notebook), str(copy), parameters, cwd=str(notebook.parent.parent), progress_bar=False,
                extra_arguments=["--log-level=40"],  # a kernel on this machine need not warn about its own socket
            )  # fmt: skip
    except PapermillExecutionError as error:
        sys.stderr.write(said.getvalue())
        raise MicroflowError(f"{notebook.name} failed: {error.ename}: {error.evalue}", hint=f"see {copy}") from error
    return copy


@contextmanager
def _aside() -> Iterator[io.StringIO]:
    """Keep what a kernel writes on standard error: Jupyter interrupts it to end it, and it says so on its way out."""
    said, kept = io.StringIO(), os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said.write(file.read().decode(errors="replace"))
