"""What every reader hands on: rows by column, and the place each came from; and the columns it must find."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.errors import InputError
from microflow.schema import DatasetSchema

__all__ = ["BLOCK_ROWS", "Block", "Refusal", "Refusals", "known_as", "numbered", "require_columns"]

#: Rows converted at a time: enough for vectorised casts, little enough for memory.
BLOCK_ROWS = 20_000
#: Characters of raw text and of a file's own names that a refusal keeps.
_MOST_RAW = 2_000


@dataclass(frozen=True, slots=True)
class Block:
    """``lines`` (int64) are line numbers in text, row numbers in Parquet, from 1; ``columns`` by name, equally long.

    A column is text (null is missing) where the format has no types, and anything that casts where it has.
    """

    lines: npt.NDArray[np.int64]
    columns: dict[str, pa.Array]


class Refusal(NamedTuple):
    """A row that cannot be used. ``line`` counts from 1; ``column`` is empty where the whole row is at fault."""

    line: int
    column: str
    reason: str
    raw: str


@dataclass(slots=True)
class Refusals:
    """Collects refused rows for `microflow.sources.quarantine`; their raw text only where ``keep_raw`` asks for it."""

    keep_raw: bool = False
    rows: list[Refusal] = field(default_factory=list)

    def add(self, line: int, column: str, reason: str, raw: str = "") -> None:
        """Refuse one row."""
        self.rows.append(Refusal(line, column[:80], reason, raw[:_MOST_RAW] if self.keep_raw else ""))

    def take(self) -> list[Refusal]:
        """What was collected since the last call, in the order of lines."""
        taken, self.rows = self.rows, []
        return sorted(taken, key=lambda refusal: refusal.line)


def require_columns(
    found: Sequence[str], schema: DatasetSchema, place: Path | str, *, header: bool = False
) -> list[str]:
    """The columns of a file by the names that the schema gives them, in the file's order.

    A name counts as written, else without blanks around it. The second column of a name is ``name#2`` and so on. A
    column that the schema does not describe keeps a name of its own; whether there may be any is ``schema.others``.

    Args:
        found: The names in the file.
        schema: What is described.
        place: The file, for messages.
        header: Whether the names stand in the first line of delimited text.

    Raises:
        InputError: columns are missing, or there are some that nobody has described; all of them are named.
    """
    names = known_as(numbered(found), schema.names)
    described = set(schema.names)
    complaint = _Complaint(found, schema, place, header=header)
    if absent := [name for name in schema.names if name not in names]:
        raise complaint.absent(absent)
    unknown = [position for position, name in enumerate(names) if name not in described]
    if unknown and schema.others == "refuse":
        raise complaint.unknown(unknown, names)
    return names


def numbered(found: Sequence[str]) -> list[str]:
    """Names of which none occurs twice: the second ``zip`` is ``zip#2``.

    >>> numbered(["zip", "age", "zip", ""])
    ['zip', 'age', 'zip#2', '']
    """
    counts: Counter[str] = Counter()
    own, names = set(found), list[str]()
    for name in found:
        counts[name] += 1
        numbered_name = name
        while counts[name] > 1 and (numbered_name := f"{name}#{counts[name]}") in own:
            counts[name] += 1  # the file itself has such a name
        names.append(numbered_name)
    return names


def known_as(found: list[str], names: Sequence[str]) -> list[str]:
    """Names of the file as the schema writes them, where the two differ in blanks around them alone."""
    described, taken = set(names), set(found)
    bare: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if name not in taken:
            bare[name.strip()].append(name)
    renamed = []
    for name in found:
        candidates = [] if name in described else bare.get(name.strip(), [])
        renamed.append(candidates.pop(0) if candidates else name)
    return renamed


class _Complaint:
    """Errors about a file's columns; a name from a file may be a person's value and is then not shown."""

    def __init__(self, found: Sequence[str], schema: DatasetSchema, place: Path | str, *, header: bool) -> None:
        self._found, self._schema, self._place, self._is_header = found, schema, place, header

    def absent(self, names: list[str]) -> InputError:
        """Some columns are not there: perhaps there is no header, or another delimiter, rather than another column."""
        hint = f"the schema describes: {_listed(self._schema.names)}"
        nested = [found for found in self._found for name in names if found.startswith(f"{name}.")]
        if self._is_header and any("\0" in name for name in self._found):
            order = "be" if self._found[0].startswith("\0") else "le"
            hint = f"the file seems to be UTF-16: source: {{encoding: utf-16-{order}}}"
        elif self._is_header and (delimiter := self._other_delimiter()):
            hint = delimiter
        elif other := self._other_spelling(names):
            hint = f"the file spells them {_listed(other)}: write the names in the schema as the file does"
        elif nested:
            hint = f"nested fields are described one by one: {_listed(nested)}"
        elif self._is_header and len(names) == len(self._schema.names):
            hint = f"if the file has no header, say so with source: {{header: false}}; {hint}"
        return self._error(f"lacks {_listed(names)}", self._about_doubled() + hint)

    def unknown(self, positions: list[int], names: list[str]) -> InputError:
        """Some columns are not described. All that are described are there, so these are names, and no values."""
        shown = [_shown(names[position], position) for position in positions]
        hint = "describe them, or set others: drop, or others: pass"
        if any(not self._found[position].strip() for position in positions):
            hint = f'a column without a name (pandas writes its index so) is described as "", or dropped: {hint}'
        text = f"has columns that the schema does not describe: {', '.join(shown[:_MOST_SHOWN])}{_more(shown)}"
        return self._error(text, self._about_doubled() + hint)

    def _error(self, message: str, hint: str) -> InputError:
        what, line = ("the header", 1) if self._is_header else ("the file", None)
        return InputError(f"{what} {message}", path=self._place, line=line, hint=hint)

    def _about_doubled(self) -> str:
        names = {name.strip() for name in self._schema.names}
        doubled = [
            name
            for name, count in Counter(self._found).items()
            if count > 1 and name.strip() in names and f"{name.strip()}#2" not in names
        ]
        if not doubled:
            return ""
        return f"{_listed(doubled)} stands there twice: the second is described as {doubled[0] + '#2'!r}; "

    def _other_delimiter(self) -> str | None:
        """What seems to separate the names of a header that was read as one field or too few, and what to do."""
        own = self._schema.source.delimiter
        text = own.join(self._found)
        wanted = set(map(str.strip, self._schema.names))
        signs = [sign for sign in dict.fromkeys([*_DELIMITERS, *text]) if not sign.isalnum() and sign not in "_\"'"]
        for sign in signs:
            for delimiter in (sign * 2, sign):
                fields = {field.strip(" \"'") for field in text.split(delimiter)}
                if delimiter == own or len(fields) < _SEVERAL or not fields & wanted:
                    continue
                named = _DELIMITERS.get(delimiter, repr(delimiter))
                if len(delimiter) > 1:
                    return (
                        f"the fields seem to be separated by {named}: a delimiter is one character, replace it before"
                    )
                written = f"'{delimiter}'" if delimiter.isprintable() else json.dumps(delimiter)
                return f"the fields seem to be separated by {named}: source: {{delimiter: {written}}}"
        return None

    def _other_spelling(self, names: list[str]) -> list[str]:
        """Names of the file that differ from those of the schema in case, blanks or the way accents are encoded."""
        wanted = set(map(_bare, names))
        return [name for name in self._found if _bare(name) in wanted]


_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks", ":": "colons", "^": "carets"}
_SEVERAL = 2
_MOST_SHOWN = 50
_LONGEST_NAME = 60


def _bare(name: str) -> str:
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _listed(names: Sequence[str]) -> str:
    """Names for a message, all of them unless there are very many."""
    return ", ".join(map(repr, names[:_MOST_SHOWN])) + _more(names)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""


def _shown(name: str, position: int) -> str:
    """A column's name in quotes, escaped and short, or its place where it has none."""
    if not name.strip():
        return f"the column {position + 1}, which has no name"
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")
