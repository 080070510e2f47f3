"""What commands write into the README: marked blocks, so that no number in them is typed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from microflow.errors import MicroflowError
from microflow.experiments.results import IncompleteError
from microflow.figures.paper import ANSWERS, TABLES
from microflow.store.experiments import ExperimentStore

__all__ = ["MARKED", "hardware", "marked", "results_block", "with_block"]

#: A block with its marks, and its name.
MARKED = re.compile(r"<!-- (\w+) -->.*?<!-- /\1 -->", re.DOTALL)

#: What a reader asks first, the question of `ANSWERS` that answers it, and the tables that show more.
_ASKED = (
    ("Batch, stream or hybrid?", "rq1", ("throughput",)),
    ("What does a cluster's transport cost?", "rq1 on storm", ("storm",)),
    ("Which method, with which parameter?", "rq2", ("methods", "pipelines")),
    ("What would a careless clock have added?", "timing separation", ("contamination",)),
    ("Is a violation overlooked?", "detection", ()),
    ("What do more records cost?", "scalability", ()),
    ("What do more cores bring?", "cores", ("cores",)),
)


def results_block(profile: str, store: ExperimentStore) -> str:
    """Every question that the database can answer: its sentence, and its table.

    Raises:
        MicroflowError: it can answer none.
    """
    parts: list[str] = []
    for asked, question, tables in _ASKED:
        try:
            parts.append(f"**{asked}** {ANSWERS[question](profile, store).sentence}")
            parts += [TABLES[table](profile, store).to_markdown() for table in tables]
        except IncompleteError:
            continue  # what has not run yet is left out here; `microflow figures` names it
    if not parts:
        raise MicroflowError(f"no question of profile {profile!r} has run yet", hint="make experiments")
    origin = f"*Profile {profile}, on {_machine(store)}; written by `make readme`.*"
    return marked("results", *parts, origin)


def marked(name: str, *parts: str) -> str:
    """A block of this name, its parts apart."""
    return "\n\n".join([f"<!-- {name} -->", *parts, f"<!-- /{name} -->"])


def hardware(machine: Mapping[str, Any]) -> str:
    """A recorded machine, as a caption says it."""
    return f"{machine['cores']} cores of {machine['cpu_model']}"


def with_block(text: str, block: str) -> str:
    r"""``text`` with ``block`` in place of the one between the same marks.

    Raises:
        MicroflowError: there is no such place, or more than one.

    >>> with_block("Before.\n<!-- results -->old<!-- /results -->\n", "<!-- results -->new<!-- /results -->")
    'Before.\n<!-- results -->new<!-- /results -->\n'
    """
    new = MARKED.fullmatch(block)
    assert new is not None
    places = [found for found in MARKED.finditer(text) if found[1] == new[1]]
    if len(places) != 1:
        raise MicroflowError(f"no single place for the {new[1]}", hint=f"mark it: <!-- {new[1]} --> <!-- /{new[1]} -->")
    return f"{text[: places[0].start()]}{block}{text[places[0].end() :]}"


def _machine(store: ExperimentStore) -> str:
    """The hardware of the newest trial there is; trials of unlike machines are never read together."""
    trials = [store.trials(name) for name in store.experiments()]
    newest = max((one.iloc[-1] for one in trials if len(one)), key=lambda row: row["created_at"])
    return hardware(newest["machine"])
