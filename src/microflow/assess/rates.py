"""Success rates of attacks, their intervals, and the risk that is left when chance is taken away.

A risk is ``(main - control) / (1 - control)`` (Giomi et al., Anonymeter, PoPETs 2023): of what could not be had by
chance, the part that the release gives. Rates have Wilson's interval (1927). The risk rises with the main rate and
falls with the control rate, so its interval is taken between the opposite ends of theirs, which errs on the wide side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Attack", "Rate"]

_Z = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Successes among attempts, with a 95 % interval."""

    successes: int
    attempts: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, attempts: int) -> Rate:
        """Wilson's score interval.

        >>> rate = Rate.of(10, 100)
        >>> round(rate.low, 4), round(rate.high, 4)
        (0.0552, 0.1744)
        """
        if attempts == 0:
            return cls(0, 0, 0.0, 0.0, 1.0)
        share = successes / attempts
        scale = 1 + _Z**2 / attempts
        centre = (share + _Z**2 / (2 * attempts)) / scale
        half = _Z / scale * math.sqrt(share * (1 - share) / attempts + _Z**2 / (4 * attempts**2))
        # Rounding must not move the ends that are exact.
        low = max(0.0, centre - half) if successes else 0.0
        high = min(1.0, centre + half) if successes < attempts else 1.0
        return cls(successes, attempts, share, low, high)


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack and its control; ``knows`` is how many quasi-identifiers the attacker knew of each target."""

    name: str
    knows: int
    main: Rate
    control: Rate
    risk: float
    low: float
    high: float

    @classmethod
    def of(cls, name: str, knows: int, main: Rate, control: Rate) -> Attack:
        """The risk that remains over chance; never below 0."""
        return cls(
            name,
            knows,
            main,
            control,
            risk=_beyond(main.value, control.value),
            low=_beyond(main.low, control.high),
            high=_beyond(main.high, control.low),
        )


def _beyond(main: float, control: float) -> float:
    return max(0.0, (main - control) / (1 - control)) if control < 1 else 0.0
