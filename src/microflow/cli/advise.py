"""``microflow recommend`` and ``release``: advice on a method, and a release that must meet thresholds."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microflow.anonymize.contract import MethodSettings
from microflow.cli.options import (
    FILE,
    OUTPUT,
    FiniteRange,
    busy,
    json_option,
    method_options,
    method_settings,
    overwrite_option,
    policy_option,
    progress_bar,
    rows_bar,
    schema_option,
)
from microflow.errors import InputError, MicroflowError
from microflow.pipeline.paths import require_free
from microflow.sinks.whole_file import write_whole
from microflow.sources.files import STANDARD

if TYPE_CHECKING:
    from microflow.advise.recommend import Recommendation
    from microflow.advise.search import Constraints

__all__ = ["recommend", "release"]


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """Type of an option: a number with a unit, ``250ms``, ``30s`` or ``1h``, converted to seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no duration: write 250ms, 30s, 15min or 1h", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class Quantity(click.ParamType[float]):
    """Type of an option: a positive number such as ``5000``, ``5_000``, ``1e8`` or ``5000/s``."""

    def __init__(self, name: str, most: float, example: str) -> None:
        self.name, self.most, self.example = name, most, example

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(str(value).strip().removesuffix("/s").replace(",", "").replace("_", ""))
        except ValueError:
            number = 0.0
        if not 0 < number <= self.most:
            self.fail(f"{value!r} is no {self.name}: write {self.example}", param, ctx)
        return number


_max_risk_option = click.option(
    "--max-risk", type=FiniteRange(0, 1), default=0.09, show_default=True,
    help="Limit of the linkage risk (success of the attack above its control), for the upper end of its interval.",
)  # fmt: skip
_min_utility_option = click.option(
    "--min-utility", type=FiniteRange(0, 1), default=0.0, show_default=True,
    help="Smallest share of the information that must remain.",
)  # fmt: skip


@click.command()
@click.argument("file", type=FILE)
@schema_option
@policy_option
@_max_risk_option
@_min_utility_option
@click.option("--latency", type=Duration(),
              help="Limit for 99 of 100 records, from arrival to result, such as 250ms; needs --rate.")  # fmt: skip
@click.option("--deadline", type=Duration(), help="Limit for the whole file, such as 1h.")
@click.option("--rate", type=Quantity("rate", 1e9, "5000/s"),
              help="Records that arrive per second, such as 5000/s; compares batch, stream and hybrid.")  # fmt: skip
@click.option("--rows", type=Quantity("number of rows", 1e15, "100000000 or 1e8"),
              help="Number of rows to predict for, such as 1e8; by default that of FILE.")  # fmt: skip
@json_option("all results")
@click.option("--html", type=OUTPUT, help="Also write a page with a plot of risk and loss to this file.")
def recommend(
    *, file: Path, schema: str, policy: str | None, max_risk: float, min_utility: float, latency: float | None,
    deadline: float | None, rate: float | None, rows: float | None, as_json: bool, html: Path | None,
) -> None:  # fmt: skip
    """Advise a method and its parameters for a file.

    All methods are tried on samples of FILE. Risk and loss are measured on samples of growing size and predicted for
    the full size, with 95 % intervals. A setting is allowed if the unfavourable end of each interval meets the limits.
    Among the allowed settings, the one that keeps most information is advised.

    \b
    Examples:
      microflow recommend patients.csv --schema healthcare
      microflow recommend patients.csv --schema healthcare --max-risk 0.05 --rows 1e8 --deadline 1h
      microflow recommend orders.csv --schema orders.yaml --rate 5000/s --latency 250ms

    Exit status: 0 a setting is advised, 1 no setting meets the limits, 2 error in the input or the settings.
    """
    from microflow.advise.recommend import Goals, advise
    from microflow.advise.search import Constraints

    if latency is not None and rate is None:
        raise MicroflowError("--latency needs the rate of arrival", hint="add --rate 5000/s")
    if html is not None:
        require_free(html, (file, schema, policy or STANDARD), replaces=b"<")
    goals = Goals(None if latency is None else latency * 1e3, deadline, rate)
    with progress_bar(None, "trying settings") as bar:
        found = advise(
            file, schema, Constraints(max_risk, min_utility), goals,
            policy=policy, rows=None if rows is None else max(round(rows), 1), progress=bar.update,
        )  # fmt: skip
    if html is not None:
        from microflow.advise.page import page

        write_whole(html, page(found))
    click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else _text(found))
    if not found.is_met:
        raise click.exceptions.Exit(1)


def _text(found: Recommendation) -> str:
    from microflow.advise.sample import setting_name

    lines = ["setting                        risk [95 %]            loss [95 %]            records/s  allowed"]
    for candidate in sorted(found.search.candidates, key=lambda candidate: candidate.loss.value):
        mark = "→" if candidate is found.advised else " "
        allowed = "yes" if candidate.meets(found.search.constraints) else "no"
        name, rate = setting_name(candidate.settings), f"{candidate.rate:,.0f}"
        lines.append(f"{mark} {name:<28} {candidate.risk!s:<22} {candidate.loss!s:<22} {rate:>9}  {allowed}")
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


@click.command()
@click.argument("file", type=FILE)
@click.argument("output", type=OUTPUT)
@schema_option
@policy_option
@partial(method_options, required=False)
@_max_risk_option
@_min_utility_option
@click.option("--max-average-risk", type=FiniteRange(0, 1), default=1.0, show_default=True,
              help="Limit of the average risk (the mean of 1 / class size over all rows).")  # fmt: skip
@click.option("--min-released", type=FiniteRange(0, 1), default=0.5, show_default=True,
              help="Smallest share of the rows that must be released.")  # fmt: skip
@click.option("--certificate", type=OUTPUT, help="File for the certificate; by default OUTPUT.certificate.json.")
@click.option("--html", type=OUTPUT, help="Also write a page with the verdict and its measurements to this file.")
@json_option("verdict, thresholds and measurements")
@overwrite_option("OUTPUT or the certificate")
def release(
    *, file: Path, output: Path, schema: str, policy: str | None, max_risk: float, min_utility: float,
    max_average_risk: float, min_released: float, certificate: Path | None, html: Path | None, as_json: bool,
    overwrite: bool, **options: Any,
) -> None:  # fmt: skip
    """Release a file only if it meets thresholds, with a certificate.

    FILE is anonymized, its classes are counted, and the result is attacked. If a threshold is not met, nothing is
    written. Otherwise OUTPUT and a certificate are written. The certificate contains hashes of input and output, the
    counts, and the columns that pass unchanged. 'microflow verify OUTPUT --certificate FILE' checks it later.

    Without --method, the method is chosen as 'microflow recommend' does.

    \b
    Examples:
      microflow release patients.csv safe.csv --schema healthcare
      microflow release patients.csv safe.csv --schema healthcare --method k_anonymity --k 10 --max-risk 0.2

    Exit status: 0 released, 1 a threshold is not met, 2 error in the input or the settings.
    """
    certificate = certificate or output.with_name(f"{output.name}.certificate.json")
    for path in (output, certificate):
        require_free(path, (file, schema, policy or STANDARD), overwrite=overwrite)
    if html is not None:
        require_free(html, (file, schema, policy or STANDARD, output, certificate), replaces=b"<")
    from microflow.advise.page import release_page
    from microflow.advise.release import ReleaseConstraints, make_release
    from microflow.pipeline import JobSpec

    thresholds = ReleaseConstraints(max_risk, min_utility, min_released, max_average_risk)
    settings = _settings(file, schema, policy, thresholds, options, as_json=as_json)
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".release.", dir=output.parent)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=output, hint="choose another folder") from error
    with scratch as folder:
        hidden = Path(folder) / output.name
        quarantine = hidden.with_name(f"{output.name}.quarantine.csv")
        with busy("releasing and attacking"), rows_bar() as follow:
            made = make_release(JobSpec(file, hidden, schema, settings, policy=policy, quarantine=quarantine), follow)
        failures = made.failures(thresholds)
        if html is not None:
            write_whole(html, release_page(made, failures, thresholds))
        click.echo(
            json.dumps(made.to_dict(thresholds), indent=2, ensure_ascii=False) if as_json else "\n".join(made.lines())
        )
        if failures:
            click.echo("\n".join([*(f"error: {failure}" for failure in failures), "nothing was released"]), err=True)
            raise click.exceptions.Exit(1)
        write_whole(certificate, made.certificate(thresholds))
        if quarantine.exists():
            shutil.move(quarantine, output.with_name(quarantine.name))
        hidden.replace(output)
    click.echo(f"released: {output}\ncertificate: {certificate}", err=as_json)


def _settings(
    file: Path, schema: str, policy: str | None, limits: Constraints, options: dict[str, Any], *, as_json: bool
) -> MethodSettings:
    """Settings of the method that was named, or else of the advised one."""
    if options["method"] is not None:
        return method_settings(options)
    from microflow.advise.recommend import Goals, advise
    from microflow.advise.sample import setting_name

    with progress_bar(None, "trying settings") as bar:
        found = advise(file, schema, limits, Goals(), policy=policy, progress=bar.update)
    for reason in found.reasons():
        click.echo(reason, err=as_json)
    if found.advised is None:
        raise click.exceptions.Exit(1)
    click.echo(f"advised: {setting_name(found.advised.settings)}", err=as_json)
    return found.advised.settings
