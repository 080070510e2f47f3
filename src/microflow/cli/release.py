"""``microflow release``: a file released, attacked and certified, or not released at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from microflow import __version__
from microflow.anonymize.contract import Method, MethodSettings
from microflow.cli.options import FILE, OUTPUT, FiniteRange, method_options, method_settings, rows_bar, schema_option
from microflow.errors import InputError, MicroflowError
from microflow.pipeline.paths import require_free
from microflow.sinks.whole_file import write_whole
from microflow.sources.files import STANDARD

__all__ = ["release"]


@dataclass(frozen=True, slots=True)
class _Thresholds:
    max_risk: float
    min_utility: float
    min_released: float


@click.command()
@click.argument("file", type=FILE)
@click.argument("output", type=OUTPUT)
@schema_option
@click.option("--policy", help="Which rules: a shipped name or your YAML file; by default the schema's.")
@partial(method_options, required=False)
@click.option("--max-risk", type=FiniteRange(0, 1), default=0.09, show_default=True,
              help="Greatest success of a linkage attack above its control, at its interval's upper end.")  # fmt: skip
@click.option("--min-utility", type=FiniteRange(0, 1), default=0.0, show_default=True,
              help="Least part of the information that must be left.")  # fmt: skip
@click.option("--min-released", type=FiniteRange(0, 1), default=0.5, show_default=True,
              help="Least part of the rows that must be released.")  # fmt: skip
@click.option("--certificate", type=OUTPUT, help="By default OUTPUT.certificate.json.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT and the certificate if they are there.")
def release(
    *, file: Path, output: Path, schema: str, policy: str | None, max_risk: float, min_utility: float,
    min_released: float, certificate: Path | None, overwrite: bool, **options: Any,
) -> None:  # fmt: skip
    r"""Release FILE as OUTPUT only if it meets the thresholds: run, verify, attack, then one verdict.

    A release that fails leaves nothing behind. One that passes has a certificate beside it, with hashes of everything,
    what was counted, and what passes untouched; `microflow verify OUTPUT --certificate C` checks it later without FILE.

    \b
    Examples:
      microflow release patients.csv safe.csv --schema healthcare
      microflow release patients.csv safe.csv --schema healthcare --method k_anonymity --k 10 --max-risk 0.2

    Without --method the method is chosen as `microflow recommend` does.

    Exit status: 0 released, 1 the thresholds are not met, 2 something is wrong with the input or the settings.
    """
    certificate = certificate or output.with_name(f"{output.name}.certificate.json")
    for path in (output, certificate):
        require_free(path, (file, schema, policy or STANDARD), overwrite=overwrite)
    thresholds = _Thresholds(max_risk, min_utility, min_released)
    settings = _settings(file, schema, policy, thresholds, options, is_advised=options["method"] is None)
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".release.", dir=output.parent)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=output, hint="choose another folder") from error
    with scratch as folder:
        made = _make(file, Path(folder) / output.name, schema, policy, settings)
        failures = made.failures(thresholds)
        for line in made.lines():
            click.echo(line)
        if failures:
            for failure in failures:
                click.echo(f"error: {failure}", err=True)
            click.echo("nothing was released", err=True)
            raise click.exceptions.Exit(1)
        write_whole(certificate, made.certificate(file, thresholds))
        quarantine = made.output.with_name(f"{output.name}.quarantine.csv")
        if quarantine.exists():
            shutil.move(quarantine, output.with_name(quarantine.name))
        made.output.replace(output)
    click.echo(f"released: {output}\ncertificate: {certificate}")


def _settings(
    file: Path, schema: str, policy: str | None, thresholds: _Thresholds, options: dict[str, Any], *, is_advised: bool
) -> MethodSettings:
    """The method that was named, or the one that is advised."""
    if not is_advised:
        return method_settings(options)
    from microflow.advise.file import advise
    from microflow.advise.recommend import Goals
    from microflow.advise.search import Constraints
    from microflow.advise.trial import setting_name

    found = advise(file, schema, Constraints(thresholds.max_risk, thresholds.min_utility), Goals(), policy=policy)
    for reason in found.reasons():
        click.echo(reason)
    if found.advised is None:
        raise click.exceptions.Exit(1)
    click.echo(f"advised: {setting_name(found.advised.settings)}")
    return found.advised.settings


@dataclass(frozen=True)
class _Made:
    """A release that is not in its place yet, and everything that was measured of it."""

    output: Path
    schema: str
    policy: str
    settings: MethodSettings
    metrics: Mapping[str, Any]
    classes: Mapping[str, Any]
    risk: tuple[float, float, float]
    loss: float

    @property
    def share(self) -> float:
        found = self.metrics["verdict"]
        return float(found["released"] / found["read"]) if found["read"] else 0.0

    def failures(self, thresholds: _Thresholds) -> list[str]:
        """The thresholds that are not met, in words."""
        value, low, high = self.risk
        found = []
        if high > thresholds.max_risk:
            found.append(f"linkage risk {value:.3f} [{low:.3f}, {high:.3f}] is not within {thresholds.max_risk:g}")
        if 1 - self.loss < thresholds.min_utility:
            found.append(
                f"{1 - self.loss:.1%} of the information is left, and {thresholds.min_utility:.1%} was asked for"
            )
        if self.share < thresholds.min_released:
            found.append(
                f"{self.share:.1%} of the rows can be released, and {thresholds.min_released:.1%} was asked for"
            )
        asked = self.settings.k if self.settings.method is Method.K_ANONYMITY else 1
        if self.classes["k"] < asked:
            found.append(f"the smallest class has {self.classes['k']} {self.classes['unit']}s, and k is {asked}")
        return found

    def lines(self) -> list[str]:
        """The verdict of the run, and what was measured."""
        from microflow.pipeline.verdict import Verdict

        value, low, high = self.risk
        measured = (
            f"linkage risk {value:.3f} [{low:.3f}, {high:.3f}], n = {self.classes['rows']:,}; "
            f"{1 - self.loss:.1%} of the information is left"
        )
        return [*Verdict.from_dict(self.metrics["verdict"]).lines(), measured]

    def certificate(self, file: Path, thresholds: _Thresholds) -> bytes:
        """The certificate of this release, which passed."""
        from microflow.advise.certificate import fingerprint, issue
        from microflow.compliance import load_policy
        from microflow.descriptors import load_schema

        verdict = self.metrics["verdict"]
        described, rules = load_schema(self.schema), load_policy(self.policy)
        is_grouped = self.settings.method is Method.K_ANONYMITY
        value, low, high = self.risk
        return issue(
            {
                "microflow": __version__,
                "created": datetime.now(UTC).date().isoformat(),
                "input": {**fingerprint(file), "rows": verdict["read"]},
                "output": {**fingerprint(self.output), "rows": verdict["released"]},
                "descriptor": {
                    "name": described.name,
                    "sha256": hashlib.sha256(repr(described).encode()).hexdigest(),
                    "quasi_identifiers": [column.name for column in described.quasi_identifiers],
                },
                "policy": {"name": rules.name, "sha256": hashlib.sha256(repr(rules).encode()).hexdigest()},
                "method": {name: item for name, item in self.metrics["method"].items() if item is not None},
                "counts": {name: verdict[name] for name in ("read", "released", "suppressed", "quarantined")},
                "guarantee": {
                    "text": verdict["guarantee"],
                    "unit": self.classes["unit"],
                    "k": self.classes["k"] if is_grouped else None,
                },
                "risk": {"linkage": {"value": value, "low": low, "high": high, "n": self.classes["rows"]}},
                "passed_unprotected": verdict["passed_unprotected"],
                "thresholds": asdict(thresholds),
                "verdict": "passed",
            }
        )


def _make(file: Path, output: Path, schema: str, policy: str | None, settings: MethodSettings) -> _Made:
    """Run the job into a hidden folder, then verify and attack what it made."""
    from microflow.cli.assess import compare_files
    from microflow.cli.verify import class_sizes
    from microflow.descriptors import load_schema
    from microflow.pipeline import JobSpec, PipelineOrchestrator

    described = load_schema(schema)
    quarantine = output.with_name(f"{output.name}.quarantine.csv")
    job = JobSpec(file, output, schema, settings, policy=policy, quarantine=quarantine)
    with rows_bar() as follow:
        metrics = PipelineOrchestrator(None, observe=follow).run(job)
    if not metrics["verdict"]["released"]:
        raise MicroflowError("no row can be released", hint="microflow run says why rows are suppressed or refused")
    sizes, unit = class_sizes(output, described)
    found = compare_files(file, output, schema)
    attack = found.linkage[-1]
    classes = {"rows": int(sizes["rows"].sum()), "k": int(sizes["members"].to_numpy().min()), "unit": unit}
    risk = attack.risk, attack.low, attack.high
    return _Made(output, schema, policy or described.policy, settings, metrics, classes, risk, found.information_loss)
