"""Released clusters of a stream that later records may be written as, when a label of theirs covers the record."""

from __future__ import annotations

import numpy as np

from microflow.anonymize.stream_space import Point, Space, Written

__all__ = ["Archive"]


class Archive:
    """The latest ``limit`` of them."""

    def __init__(self, space: Space, limit: int) -> None:
        self._space = space
        self._written: list[Written] = []
        self._losses = np.full(limit, np.inf)
        self._next = 0

    def remember(self, written: Written) -> None:
        """Keep a cluster, in place of the oldest where there is no room."""
        place = self._next
        self._next = (place + 1) % len(self._losses)
        self._written[place : place + 1] = [written]
        self._losses[place] = written.loss
        self._space.remember(place, written)

    def covering(self, point: Point) -> Written | None:
        """The cluster of least loss that covers a point, or ``None``."""
        losses = np.where(self._space.may_cover(point), self._losses, np.inf)
        for place in map(int, np.argsort(losses, kind="stable")):
            if losses[place] == np.inf:
                return None
            if self._space.covers(self._written[place], point):
                return self._written[place]
        return None
