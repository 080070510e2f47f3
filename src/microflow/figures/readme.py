"""What commands write into the README: marked blocks, so that no number in them is typed."""

from __future__ import annotations

import re

from microflow.errors import MicroflowError
from microflow.experiments import all_experiments
from microflow.lab.experiment import PREVIEWS
from microflow.lab.report import hardware
from microflow.lab.results import IncompleteError, Results
from microflow.store.experiments import ExperimentStore

__all__ = ["MARKED", "marked", "results_block", "with_block"]

#: A block with its marks, and its name.
MARKED = re.compile(r"<!-- (\w+) -->.*?<!-- /\1 -->", re.DOTALL)


def results_block(profile: str, store: ExperimentStore) -> str:
    """Every question that the database can answer: its sentence, and its tables.

    Raises:
        MicroflowError: it can answer none.
    """
    parts: list[str] = []
    for one in all_experiments():
        try:
            results = Results.read(one.matrix(profile), store)
        except IncompleteError:
            continue  # what has not run yet is left out here; `microflow figures` names it
        parts.append(f"**{one.asks}** {one.answer(results).of(profile).sentence}")
        parts += [build(results).of(profile).to_markdown() for build in (one.tables or {}).values()]
    if not parts:
        raise MicroflowError(f"no question of profile {profile!r} has run yet", hint="make experiments")
    preview = " These are a preview, not to be cited." if profile in PREVIEWS else ""
    origin = f"*Profile {profile}, on {_machine(store)}; written by `make readme`.{preview}*"
    return marked("results", *parts, origin)


def marked(name: str, *parts: str) -> str:
    """A block of this name, its parts apart."""
    return "\n\n".join([f"<!-- {name} -->", *parts, f"<!-- /{name} -->"])


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
