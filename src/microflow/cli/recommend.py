"""``microflow recommend``: which method, with which parameter, on which architecture, for this file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from microflow.cli.options import FILE, OUTPUT, FiniteRange, schema_option
from microflow.cli.progress import progress_bar
from microflow.errors import MicroflowError
from microflow.pipeline.paths import require_free
from microflow.sinks.whole_file import write_whole
from microflow.sources.files import STANDARD

if TYPE_CHECKING:
    from microflow.advise.recommend import Recommendation

__all__ = ["recommend"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """A number with a unit, in seconds: ``250ms``, ``30s``, ``1h``."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no duration: write 250ms, 30s, 15min or 1h", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class Rate(click.ParamType[float]):
    """Records per second: ``5000`` or ``5000/s``."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Records per second."""
        text = str(value).strip().removesuffix("/s").replace(",", "").replace("_", "")
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if not 0 < rate <= 1e9:  # noqa: PLR2004 - nobody's topic is faster
            self.fail(f"{value!r} is no rate: write 5000/s", param, ctx)
        return rate


class Rows(click.ParamType[int]):
    """A number of rows, also as ``1e8``."""

    name = "rows"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Rows."""
        try:
            rows = float(str(value).replace(",", "").replace("_", ""))
        except ValueError:
            rows = 0.0
        if not 1 <= rows <= 1e15:  # noqa: PLR2004 - more than any table
            self.fail(f"{value!r} is no number of rows: write 100000000 or 1e8", param, ctx)
        return round(rows)


@click.command()
@click.argument("file", type=FILE)
@schema_option
@click.option("--policy", help="Which rules: a shipped name or your YAML file; by default the schema's.")
@click.option("--max-risk", type=FiniteRange(0, 1), default=0.09, show_default=True,
              help="Greatest success of a linkage attack above its control.")  # fmt: skip
@click.option("--min-utility", type=FiniteRange(0, 1), default=0.0, show_default=True,
              help="Least part of the information that must be left.")  # fmt: skip
@click.option(
    "--latency", type=Duration(), help="99 of 100 records done within this time of their arrival, e.g. 250ms."
)
@click.option("--deadline", type=Duration(), help="The whole file done within this time, e.g. 1h.")
@click.option("--rate", type=Rate(), help="Records/s that arrive, e.g. 5000/s: compares batch, stream and hybrid.")
@click.option("--rows", type=Rows(), help="Predict for so many rows, e.g. 1e8; by default those of FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--html", type=OUTPUT, help="Also write a page with the frontier drawn.")
def recommend(
    *, file: Path, schema: str, policy: str | None, max_risk: float, min_utility: float, latency: float | None,
    deadline: float | None, rate: float | None, rows: int | None, as_json: bool, html: Path | None,
) -> None:  # fmt: skip
    r"""Try all methods on samples of FILE and advise one setting that meets the constraints.

    Risk and loss are measured on growing samples and predicted for the full size with 95 % intervals; a setting counts
    as allowed when the unfavourable end of its interval is.

    \b
    Examples:
      microflow recommend patients.csv --schema healthcare
      microflow recommend patients.csv --schema healthcare --max-risk 0.05 --rows 1e8 --deadline 1h
      microflow recommend orders.csv --schema orders.yaml --rate 5000/s --latency 250ms

    Exit status: 0 a setting is advised, 1 none meets the constraints, 2 something is wrong with the input.
    """
    from microflow.advise.file import advise
    from microflow.advise.recommend import Goals
    from microflow.advise.search import Constraints

    if latency is not None and rate is None:
        raise MicroflowError("--latency needs the rate of arrival", hint="add --rate 5000/s")
    if html is not None:
        require_free(html, (file, schema, policy or STANDARD), replaces=b"<")
    goals = Goals(None if latency is None else latency * 1e3, deadline, rate)
    with progress_bar(None, "trying settings") as bar:
        found = advise(
            file, schema, Constraints(max_risk, min_utility), goals, policy=policy, rows=rows, progress=bar.update
        )
    if html is not None:
        from microflow.advise.page import page

        write_whole(html, page(found))
    click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else _text(found))
    if not found.is_met:
        raise click.exceptions.Exit(1)


def _text(found: Recommendation) -> str:
    from microflow.advise.trial import setting_name

    lines = ["setting                        risk [95 %]            loss [95 %]            records/s  allowed"]
    for one in sorted(found.search.candidates, key=lambda one: one.loss.value):
        mark = "→" if one is found.advised else " "
        allowed = "yes" if one.meets(found.search.constraints) else "no"
        name, rate = setting_name(one.settings), f"{one.rate:,.0f}"
        lines.append(f"{mark} {name:<28} {one.risk!s:<22} {one.loss!s:<22} {rate:>9}  {allowed}")
    for arm in found.architectures:
        keeps = "" if arm.is_sustained else "  (backlog grows)"
        lines.append(
            f"  {arm.pipeline:<8} at {arm.rate:,.0f}/s: p50 {arm.p50_ms:.3g} ms, p99 {arm.p99_ms:.3g} ms{keeps}"
        )
    for workers in found.goals.workers:
        if (time := found.job_time(workers)) is not None:
            guess = ", extrapolated" if time.is_extrapolated else ""
            lines.append(
                f"  whole job of {found.search.rows:,} rows on {workers} core{'s' * (workers > 1)}: "
                f"{time.seconds:,.1f} s [{time.low:,.1f}, {time.high:,.1f}]{guess}"
            )
    lines += ["", *found.reasons()]
    if found.command is not None:
        lines += ["", found.command]
    return "\n".join(lines)
