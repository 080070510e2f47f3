"""What the released values themselves say about how they were protected: the reasons behind the numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from microflow.anonymize.token_text import REVERSIBLE, VERSIONS
from microflow.assess.loss import Loss
from microflow.assess.pair import Compared, Pair
from microflow.names import named_like_persons

__all__ = ["reasons"]

#: A whole token (see `microflow.anonymize.token_text`).
TOKEN = rf"^(?:{'|'.join(VERSIONS)})\.[^.]*\.[^.]*$"

#: A linkage risk that calls for an explanation.
_HIGH = 0.2
#: Less than this is what remedies do (a shortened code, an age of 90 or older).
_PERTURBED = 0.05


def reasons(pair: Pair, loss: Loss, linkage_risk: float) -> tuple[str, ...]:
    """Sentences for the report; none holds a value."""
    found = [*_repeated_persons(pair), *_identifiers(pair), *_quasi_identifiers(pair, loss, linkage_risk)]
    if pair.suppressed:
        found.append(f"{pair.suppressed} of {pair.original.num_rows} rows were suppressed.")
    return tuple(found)


def _repeated_persons(pair: Pair) -> list[str]:
    """Columns that seem to tell persons apart, of whom some have several rows, where rows are counted."""
    if pair.unit == "person":
        return []
    names = [name for name in pair.original.column_names if name != pair.schema.record_id]
    repeated = [name for name in named_like_persons(names) if _repeats(pair.original[name].drop_null())]
    told = "named like a person's, and values occur in several rows. Rows were counted, and k of persons is less"
    return [f"{', '.join(repeated)}: {told}: describe the column with role: person."] if repeated else []


def _repeats(values: pa.ChunkedArray) -> bool:
    return int(pc.count_distinct(values).as_py()) < len(values)


def _identifiers(pair: Pair) -> list[str]:
    tokens, reversible, unchanged = [], [], []
    for column in pair.schema.identifiers:
        before = pair.original[column.name].combine_chunks().take(pair.ordinals).cast(pa.string())
        after = pair.released[column.name].combine_chunks().cast(pa.string())
        if after.null_count < len(after) and pc.all(pc.match_substring_regex(after, TOKEN)).as_py():
            tokens.append(column.name)
            reversible += [column.name] if pc.any(pc.starts_with(after, REVERSIBLE + ".")).as_py() else []
        elif pc.any(pc.equal(before, after)).as_py():
            unchanged.append(column.name)
    found = []
    if tokens:
        found.append(
            f"{', '.join(tokens)}: pseudonymised by tokens. Pseudonymised data remain personal data (GDPR Art. 4(5), "
            "recital 26): whoever holds the key can single persons out, and equal tokens link records to each other."
        )
    if reversible:
        found.append(f"{', '.join(reversible)}: the key holder can turn these tokens back into the values.")
    if unchanged:
        found.append(f"{', '.join(unchanged)}: identifiers are released as they were.")
    return found


def _quasi_identifiers(pair: Pair, loss: Loss, linkage_risk: float) -> list[str]:
    untouched = [one.column.name for one in pair.quasi if _told(one, loss)]
    perturbed = [one.column.name for one in pair.quasi if loss.columns[one.column.name].distortion > _PERTURBED]
    found = []
    if untouched and linkage_risk > _HIGH:
        found.append(
            f"{', '.join(untouched)}: released as precisely as they came, so that whoever knows them finds the record "
            f"again. This is where the linkage risk of {linkage_risk:.0%} comes from."
        )
    if perturbed:
        found.append(
            f"{', '.join(perturbed)}: values were perturbed or removed. Class sizes (k, prosecutor risk) say little "
            "about such a release; the attacks do."
        )
    return found


def _told(one: Compared, loss: Loss) -> bool:
    """Whether nearly every row tells the value itself."""
    exact = float(np.mean(one.labels.width[one.labels.codes] == 0))
    return exact > 1 - _PERTURBED and loss.columns[one.column.name].distortion <= _PERTURBED
