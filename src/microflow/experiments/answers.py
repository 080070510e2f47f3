"""An answer: one sentence, and the numbers in it for whoever cites them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Answer", "method_name", "per_cent", "rounded"]

_MILLION = 1_000_000
_THOUSAND = 1_000


@dataclass(frozen=True)
class Answer:
    """``sentence`` is plain text; ``numbers`` maps a name (words and digits) to the value as printed in it."""

    sentence: str
    numbers: Mapping[str, str] = field(default_factory=dict)

    def _repr_markdown_(self) -> str:
        return f"**{self.sentence}**"


def method_name(method: str) -> str:
    """A method as people write it.

    >>> method_name("k_anonymity"), method_name("differential_privacy")
    ('k-anonymity', 'differential privacy')
    """
    return method.replace("k_", "k-").replace("_stream", " of a stream").replace("_", " ")


def rounded(value: float) -> str:
    """A number as a sentence says it, with three digits.

    >>> [rounded(value) for value in (0.01234, 3.14159, 61_234, 1_230_000)]
    ['0.0123', '3.14', '61,200', '1.23 million']
    """
    if abs(value) >= _MILLION:
        return f"{value / _MILLION:.3g} million"
    if abs(value) >= _THOUSAND:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def per_cent(share: float) -> str:
    """A share in per cent, with as many digits as say something.

    >>> [per_cent(share) for share in (0.5, 0.0123, 0.99961)]
    ['50 %', '1.2 %', '99.96 %']
    """
    if share < 0.1 and share != 0:  # noqa: PLR2004 - two digits below ten per cent
        return f"{100 * share:.2g} %"
    return f"{100 * share:.4g} %"
