"""A certified release, or its certificate, is changed by a bit, a line or a value: each change must be noticed."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from advise.mutations import accepted_mutations
from faults.stand import Case, Outcome, Stand

__all__ = ["FORGERY"]

_MUTATIONS = 1_000


def mutations_refused(count: int, stand: Stand, seed: int) -> Outcome:
    """Seeded mutations of a release and its certificate; what is accepted differs from what was certified."""
    with tempfile.TemporaryDirectory(dir=stand.folder) as folder:
        accepted = accepted_mutations(Path(folder), count, seed)
    return Outcome(0, 0, tuple(accepted), f"{count:,} tried, {len(accepted)} accepted")


#: Case to the number of times it is run.
FORGERY: dict[str, tuple[Case, int]] = {"mutated release or certificate": (partial(mutations_refused, _MUTATIONS), 1)}
