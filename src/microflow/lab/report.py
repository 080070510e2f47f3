"""Texts and tables of results: sentences with their numbers, tables for screen, print and README."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from microflow.lab.experiment import PREVIEWS
from microflow.lab.results import Results
from microflow.lab.statistics import MARGIN, Analysis, Comparison, Estimate

__all__ = [
    "UNKNOWN", "WIDEST", "Answer", "Table", "comparison_cells", "design", "family", "from_to", "hardware",
    "method_name", "per_cent", "pure_or_not", "ratio_text", "rounded", "short", "sparkline", "with_interval",
    "with_spread",
]  # fmt: skip

_MILLION, _THOUSAND = 1_000_000, 1_000
_SMALLEST_P = 0.001
#: A ratio is not given where its interval is wider than ± this part.
WIDEST = 0.5
#: What stands in its place.
UNKNOWN = f"not known to ±{WIDEST:.0%}"
_BARS = "▁▂▃▄▅▆▇█"
_LATEX = str.maketrans(
    {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
     "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "ε": r"$\varepsilon$", "×": r"$\times$", "±": r"$\pm$",
     "<": "$<$", "≥": r"$\geq$", "≤": r"$\leq$", "–": "--", "−": "$-$", "μ": r"$\mu$", "µ": r"$\mu$"}
)  # fmt: skip
#: Letters of 8 points that a column of an IEEE paper holds, and how many the gap between two cells takes.
_COLUMN_LETTERS, _GAP = 56, 3


@dataclass(frozen=True)
class Answer:
    """Answer to an experiment's question, in plain text.

    Attributes:
        sentence: The whole answer.
        numbers: By name (words and digits), the values as printed in it.
        headline: The same in one short sentence with its interval, where it stands among the first things to be read.
    """

    sentence: str
    numbers: Mapping[str, str] = field(default_factory=dict)
    headline: str = ""

    def _repr_markdown_(self) -> str:
        return f"**{self.sentence}**"

    def of(self, profile: str) -> Answer:
        """Answer of a profile, marked if its results are a preview."""
        if profile not in PREVIEWS:
            return self
        mark = f"Preview ({profile}): "
        return replace(self, sentence=mark + self.sentence, headline=self.headline and mark + self.headline)


@dataclass(frozen=True)
class Table:
    """Cells as text, columns named; the first column is the row's name. ``caption`` says what is counted, and how.

    Cells are numbers, and stand to the right, unless they are ``prose``. The row named ``marked`` stands out on a page.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    prose: bool = False
    marked: str = ""

    def of(self, profile: str) -> Table:
        """Table of a profile, marked if its results are a preview."""
        return replace(self, caption=f"Preview ({profile}). {self.caption}") if profile in PREVIEWS else self

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        marks = (" class=marked" if self.marked and row[0] == self.marked else "" for row in self.rows)
        body = "".join(f"<tr{mark}>{self._cells(row)}</tr>" for mark, row in zip(marks, self.rows, strict=True))
        caption = f"<caption style='text-align:left'>{html.escape(self.caption)}</caption>" if self.caption else ""
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
        head, *body = (
            " & ".join(cell.translate(_LATEX) for cell in row) + r" \\" for row in (self.columns, *self.rows)
        )
        lines = [
            rf"\begin{{{table}}}[t]", rf"\caption{{{self.caption.translate(_LATEX)}}}\label{{tab:{label}}}",
            rf"\centering\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}", r"\toprule", head, r"\midrule", *body,
            r"\bottomrule", r"\end{tabular}", rf"\end{{{table}}}", "",
        ]  # fmt: skip
        return "\n".join(lines)

    def to_text(self) -> str:
        """Aligned columns for a terminal, the caption below.

        >>> print(Table(["arm", "rate"], [["batch", "10"]], "Rates.").to_text())
        arm    rate
        batch    10
        <BLANKLINE>
        Rates.
        """
        table = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        sides = [str.ljust if self.prose or not at else str.rjust for at in range(len(widths))]
        lines = ["  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)).rstrip()
                 for row in table]  # fmt: skip
        return "\n".join([*lines, "", self.caption])

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


def hardware(machine: Mapping[str, object]) -> str:
    """A recorded machine, as a caption says it."""
    return f"{machine['cores']} cores of {machine['cpu_model']}"


def design(results: Results) -> str:
    """Design of a table or figure, generated so that it cannot drift: rows, blocks, trials, machine.

    Example: ``"10,000 rows; 6 blocks, 36 trials; 2 cores of AMD EPYC"``.
    """
    sizes = sorted({int(arm.config["rows"]) for arm in results.matrix.arms if "rows" in arm.config})
    rows = [f"{' and '.join(f'{size:,}' for size in sizes)} rows"] if sizes else []
    blocks = results.matrix.blocks
    counted = f"{blocks} block{'s' * (blocks != 1)}, {len(results.trials)} trials"
    if results.matrix.side_by_side:
        counted += ", run side by side"
    machines = sorted({hardware(asdict(trial.run.machine)) for trial in results.trials})
    return "; ".join([*rows, counted, *machines])


def family(analysis: Analysis) -> str:
    """The declared design of a family of comparisons: margin, correction, noise floor."""
    count = len(analysis.comparisons)
    return (
        f"{count} comparisons, corrected by Holm; equivalent: within ±{MARGIN:.0%} by two one-sided tests; "
        f"different: outside the A/A noise floor of {analysis.noise_floor:.1%} and p < 0.05; else undecided"
    )


def comparison_cells(comparison: Comparison) -> list[str]:
    """Ratio with interval, p for a difference, p for equivalence, and the answer."""
    return [
        ratio_text(comparison.ratio),
        _p(comparison.p_different),
        _p(comparison.p_equivalent),
        comparison.verdict.value,
    ]


def _p(value: float) -> str:
    return f"<{_SMALLEST_P:g}" if value < _SMALLEST_P else f"{value:.3f}"


def ratio_text(ratio: Estimate) -> str:
    """A ratio with its interval; none where the interval is wider than ± `WIDEST`, or there is no interval at all.

    >>> ratio_text(Estimate(2.0, 1.9, 2.1)), ratio_text(Estimate(2.0, 1.0, 4.0))
    ('2× [1.9, 2.1]', 'not known to ±50%')
    """
    if math.isnan(ratio.low) or ratio.low <= 0 or math.sqrt(ratio.high / ratio.low) - 1 > WIDEST:
        return UNKNOWN
    return with_interval(*ratio, "×")


def pure_or_not(results: Results) -> str:
    """Purity that the trials of each arm show, as text; an arm without evidence is never called pure."""
    shown, open_ = results.purity()
    if not open_:
        return "every timed span is shown to have touched memory only"
    rest = f"; shown for {', '.join(shown)}" if shown else ""
    return f"not shown to be pure: {', '.join(open_)}{rest}"


def method_name(method: str, setting: str = "") -> str:
    """A method as people write it, with its setting.

    >>> method_name("k_anonymity", "k=5"), method_name("k_anonymity_stream"), method_name("differential_privacy")
    ('k-anonymity, k=5', 'k-anonymity of a stream', 'differential privacy')
    """
    name = method.replace("_stream", " of a stream").replace("_hybrid", " in microflows")
    return ", ".join(filter(None, (name.replace("k_", "k-").replace("_", " "), setting)))


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


def from_to(first: str, last: str) -> str:
    """Two ends as text; the first alone where both are said alike."""
    return first if first == last else f"{first} to {last}"


def per_cent(share: float) -> str:
    """A share in per cent, with as many digits as say something.

    >>> [per_cent(share) for share in (0.5, 0.0123, 0.99961)]
    ['50 %', '1.2 %', '99.96 %']
    """
    if share < 0.1 and share != 0:  # noqa: PLR2004 - two digits below ten per cent
        return f"{100 * share:.2g} %"
    return f"{100 * share:.4g} %"


def short(value: float) -> str:
    """A number as it stands on an axis or beside a point.

    >>> [short(value) for value in (0.25, 12, 4_200, 1_230_000)]
    ['0.25', '12', '4.2k', '1.23M']
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


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
