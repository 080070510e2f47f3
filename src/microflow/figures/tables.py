"""Tables that people read: on a screen (HTML), in print (LaTeX, booktabs), in the README (Markdown)."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from microflow.figures.style import short

__all__ = ["Table", "sparkline", "with_interval", "with_spread"]

_BARS = "▁▂▃▄▅▆▇█"
_LATEX = str.maketrans(
    {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
     "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "ε": r"$\varepsilon$", "×": r"$\times$", "±": r"$\pm$",
     "<": "$<$", "≥": r"$\geq$", "≤": r"$\leq$", "–": "--", "−": "$-$", "μ": r"$\mu$", "µ": r"$\mu$"}
)  # fmt: skip
#: Letters of 8 points that a column of an IEEE paper holds, and how many the gap between two cells takes.
_COLUMN_LETTERS, _GAP = 56, 3


@dataclass(frozen=True)
class Table:
    """Cells as text, columns named; the first column is the row's name. ``caption`` says what is counted, and how.

    Cells are numbers, and stand to the right, unless they are ``prose``.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    prose: bool = False

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(f"<tr>{self._cells(row)}</tr>" for row in self.rows)
        caption = f"<caption style='text-align:left'>{html.escape(self.caption)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _cells(self, row: Sequence[str]) -> str:
        sides = ("left" if self.prose or not column else "right" for column in range(len(row)))
        cells = zip(sides, row, strict=True)
        return "".join(f"<td style='text-align:{side}'>{html.escape(cell)}</td>" for side, cell in cells)

    def to_latex(self, label: str) -> str:
        r"""A ``table`` environment with booktabs rules, to ``\input``; ``table*`` where a column is too narrow for it.

        >>> print(Table(["arm", "rate"], [["50 %", "1"]], "Rates.").to_latex("rates").splitlines()[6])
        50 \% & 1 \\
        """
        letters = sum(max(map(len, column)) + _GAP for column in zip(self.columns, *self.rows, strict=True))
        table = "table*" if letters > _COLUMN_LETTERS else "table"
        lines = [" & ".join(cell.translate(_LATEX) for cell in row) + r" \\" for row in (self.columns, *self.rows)]
        return "\n".join(
            [
                rf"\begin{{{table}}}[t]",
                rf"\caption{{{self.caption.translate(_LATEX)}}}\label{{tab:{label}}}",
                rf"\centering\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}",
                r"\toprule",
                lines[0],
                r"\midrule",
                *lines[1:],
                r"\bottomrule",
                r"\end{tabular}",
                rf"\end{{{table}}}",
                "",
            ]
        )

    def to_markdown(self) -> str:
        """A GitHub table, caption below.

        >>> print(Table(["arm", "rate"], [["batch", "1"]], "Rates.").to_markdown())
        | arm | rate |
        | --- | ---: |
        | batch | 1 |
        <BLANKLINE>
        *Rates.*
        """
        rule = ["---", *["---" if self.prose else "---:"] * (len(self.columns) - 1)]
        lines = [
            f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in (self.columns, rule, *self.rows)
        ]
        return "\n".join([*lines, "", f"*{self.caption}*"])


def with_interval(value: float, low: float, high: float, unit: str = "") -> str:
    """A value and its interval in one cell.

    >>> with_interval(1_234_567, 1_200_000, 1_300_000)
    '1.23M [1.2M, 1.3M]'
    >>> with_interval(1.5, float("nan"), float("nan"), "×")
    '1.5×'
    """
    if math.isnan(low) or math.isnan(high):
        return f"{short(value)}{unit}"
    return f"{short(value)}{unit} [{short(low)}, {short(high)}]"


def with_spread(value: float, low: float, high: float) -> str:
    """A value and half of its interval as a part of it, for tables with many numbers; the value alone without one.

    >>> with_spread(448_000, 448_000 / 1.25, 448_000 * 1.25)
    '448k ±25%'
    """
    if math.isnan(low) or math.isnan(high) or low <= 0:
        return short(value)
    return f"{short(value)} ±{math.sqrt(high / low) - 1:.0%}"


def sparkline(values: Sequence[float], low: float | None = None) -> str:
    """Values as a line of bars, from the smallest, or from ``low``, to the largest; nothing for nothing.

    >>> sparkline([1, 2, 3]), sparkline([97, 98, 99], low=0)
    ('▁▅█', '███')
    """
    finite = np.asarray(values, np.float64)
    if len(finite) == 0:
        return ""
    least, most = float(finite.min()) if low is None else low, float(finite.max())
    share = (finite - least) / (most - least) if most > least else np.full(len(finite), 0.5)
    return "".join(_BARS[min(int(part * len(_BARS)), len(_BARS) - 1)] for part in share)
