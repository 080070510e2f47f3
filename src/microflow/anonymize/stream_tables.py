"""Quasi-identifiers of a stream whose values have no positions: a table of what each value adds to each open cluster.

`Bag` for categories without order, `Paths` for hierarchies. Values are numbered as they come.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microflow.anonymize.axes import prefix_paths, tree_paths
from microflow.anonymize.generalise import exact_label, set_label
from microflow.anonymize.stream_kernels import common_length, note_gain
from microflow.anonymize.stream_lines import Flags, Summary
from microflow.schema import Column, Hierarchy, Value

__all__ = ["Bag", "Paths"]

Floats = npt.NDArray[np.float64]
#: The numbers of the nodes from the root down to one.
Node = tuple[int, ...]

#: Values that there is room for at first.
_ROOM = 64


class Table:
    """What both kinds share: numbers for values (0 is the missing one), and room for them in every array.

    ``gain[code, slot]`` is what a value would add to the loss of a slot's cluster. ``levels[code]`` describes a value
    so that two values together lose the ``steps`` of the levels in which they differ.
    """

    def __init__(self, slots: int, levels: int) -> None:
        self.codes: dict[Value, int] = {None: 0}
        self._texts = [""]
        self._quoted = [""]
        self.gain = np.zeros((_ROOM, slots))
        self.levels = np.zeros((_ROOM, levels), np.int64)
        self.steps = np.ones(levels)

    def code(self, value: Value) -> int:
        """The value's number; a new value is given the next."""
        text = value if value is None or isinstance(value, str) else str(value).lower()
        code = self.codes.get(text)
        if code is None:
            code = self.codes[text] = len(self.codes)
            self._texts.append(str(text))
            self._quoted.append(exact_label(str(text)))
            if code == len(self.gain):
                self.gain = np.concatenate([self.gain, np.zeros_like(self.gain)])
                self.levels = np.concatenate([self.levels, np.zeros_like(self.levels)])
            self._learn(code)
        return code

    def _learn(self, code: int) -> None:
        """Fill the arrays for a new value."""
        raise NotImplementedError


class Bag(Table):
    """Categories without order: a cluster is the set of its values and loses the share of the domain that it names."""

    def __init__(self, column: Column, slots: int, remembered: int) -> None:
        super().__init__(slots, 1)
        self._declared = len(column.categories)
        self._covered = np.zeros((_ROOM, remembered), np.bool_)
        self._learn(0)

    def _learn(self, code: int) -> None:
        self.steps[0] = 1.0 / max(1, self._declared - 1, len(self.codes) - 2)
        self.gain[code] = self.steps[0]
        self.levels[code] = code
        if code == len(self._covered):
            self._covered = np.concatenate([self._covered, np.zeros_like(self._covered)])

    def start(self, slot: int, code: int) -> None:
        """A slot has a new cluster of one value."""
        self.gain[:, slot] = self.steps[0]
        self.gain[code, slot] = 0.0

    def extend(self, slot: int, code: int) -> None:
        """The value has joined the slot's cluster."""
        self.gain[code, slot] = 0.0

    def added_by(self, codes: list[int]) -> Floats:
        """What several values would add to the loss of each cluster."""
        return np.asarray(self.gain[codes].sum(axis=0))

    def summarise(self, codes: Sequence[int]) -> Summary:
        """What the label of these values covers: a set of codes."""
        known = frozenset(codes)
        return Summary(known - {0} or None, 0 in known)

    def loss(self, summary: Summary) -> float:
        """The share of the known values that are named."""
        return float((len(summary.shape or ()) + summary.missing - 1) * self.steps[0])

    def label(self, summary: Summary) -> str | None:
        """The set of values, sorted."""
        if summary.shape is None:
            return None
        ordered = sorted(summary.shape, key=self._texts.__getitem__)
        return set_label((self._quoted[code] for code in ordered), missing=summary.missing)

    def remember(self, place: int, summary: Summary) -> None:
        """Keep what a released label covers."""
        self._covered[:, place] = False
        self._covered[[*(summary.shape or ()), *([0] * summary.missing)], place] = True

    def covered(self, code: int) -> Flags:
        """For each remembered label whether it covers the value."""
        return np.asarray(self._covered[code])


class Paths(Table):
    """A hierarchy: a cluster is the lowest common ancestor of its values and loses its share of the height."""

    def __init__(self, column: Column, slots: int, remembered: int) -> None:
        assert column.hierarchy is not None
        self._hierarchy = column.hierarchy
        #: Levels above which nothing is told: the star, and in a tree the root that all declared values share.
        free, height = _levels(column.hierarchy)
        super().__init__(slots, height)
        self.steps = np.where(np.arange(height) < free, 0.0, 1.0 / max(1, height - free))
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        #: The path to each slot's node, and how long it is.
        self._nodes = np.zeros((slots, height), np.int64)
        self._lengths = np.zeros(slots, np.int64)
        self._top_of = np.full(remembered, -1, np.int64)
        self._missing_in = np.zeros(remembered, np.bool_)
        self._learn(0)
        self.extend(0, 0)  # of no level: compiled now, and not while a record waits

    def _path(self, code: int) -> tuple[str, ...]:
        if code == 0:
            return ("\0missing",)
        text, lengths = self._texts[code], self._hierarchy.prefix
        return prefix_paths([text], lengths)[0] if lengths else tree_paths([text], self._hierarchy)[0]

    def _learn(self, code: int) -> None:
        names = self._path(code)
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in names]
        self._names.extend(list(self._numbers)[len(self._names) :])
        # A short path is its own continuation: below its end it shares nothing with others.
        self.levels[code] = numbers + [numbers[-1]] * (self.levels.shape[1] - len(numbers))
        for slot, (node, length) in enumerate(zip(self._nodes, self._lengths, strict=True)):
            note_gain(node, length, self.levels, code, code + 1, self.steps, self.gain, slot)

    def start(self, slot: int, code: int) -> None:
        """A slot has a new cluster of one value."""
        self._nodes[slot] = self.levels[code]
        self._move(slot, self.levels.shape[1])

    def extend(self, slot: int, code: int) -> None:
        """The value has joined the slot's cluster."""
        common = common_length(self._nodes[slot], self._lengths[slot], self.levels[code])
        if common < self._lengths[slot]:
            self._move(slot, common)

    def _move(self, slot: int, length: int) -> None:
        self._lengths[slot] = length
        note_gain(self._nodes[slot], length, self.levels, 0, len(self.codes), self.steps, self.gain, slot)

    def added_by(self, codes: list[int]) -> Floats:
        """What several values would add to the loss of each cluster (the one that adds most: all else lies below)."""
        return np.asarray(self.gain[codes].max(axis=0))

    def summarise(self, codes: Sequence[int]) -> Summary:
        """What the label of these values covers: a node, as the numbers on its path."""
        known = set(codes) - {0}
        shape: Node | None = None
        for code in known:
            path = self.levels[code].tolist()
            shape = tuple(path) if shape is None else _common(shape, path)
        return Summary(shape, len(known) < len(set(codes)))

    def loss(self, summary: Summary) -> float:
        """The steps below the node; 1 where missing and known values are mixed."""
        if summary.shape is None:
            return 0.0
        return 1.0 if summary.missing else float(self.steps[len(summary.shape) :].sum())

    def label(self, summary: Summary) -> str | None:
        """The node."""
        return set_label([self._names[summary.shape[-1]]], missing=summary.missing) if summary.shape else None

    def remember(self, place: int, summary: Summary) -> None:
        """Keep what a released label covers."""
        self._top_of[place] = summary.shape[-1] if summary.shape else -1
        self._missing_in[place] = summary.missing

    def covered(self, code: int) -> Flags:
        """For each remembered label whether it covers the value."""
        if code == 0:
            return self._missing_in
        return np.asarray((self.levels[code] == self._top_of[:, None]).any(axis=1))


def _levels(hierarchy: Hierarchy) -> tuple[int, int]:
    """How many levels lose nothing (the roots), and how many there are."""
    if hierarchy.prefix:
        return 1, len({0, *hierarchy.prefix} - {max(hierarchy.prefix)}) + 1
    return 2, max(len(path) for path in tree_paths(list(hierarchy.parents), hierarchy))


def _common(node: Node, path: Sequence[int]) -> Node:
    length = 0
    for mine, theirs in zip(node, path, strict=False):
        if mine != theirs:
            break
        length += 1
    return node[:length]
