"""What the explorer computes, without a widget in sight: a small sample through the real engine, then measured."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, takewhile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess import Assessment, assess
from microflow.compliance import BatchChecker, load_policy
from microflow.datasets import DATA_TYPES, generate
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.ingest import Quarantine, read_microflows
from microflow.lab.arrivals import poisson
from microflow.lab.oracle import simulate
from microflow.lab.report import Table
from microflow.microflows import microflows
from microflow.processors import ProcessingSpec, build_processor
from microflow.processors.live import Service, Workload, measured_costs
from microflow.processors.router import AdaptiveRouter, Router, StaticRouter
from microflow.schema import DatasetSchema
from microflow.settings import MICROFLOW_ROWS
from microflow.timing.clock import PhaseClock

__all__ = ["Sample", "Trialled", "latency_frame", "take_sample", "try_setting"]

_ATTEMPTS = 200
_LOADS = (500, 2_000, 8_000, 32_000, 128_000)
_ARRIVALS = 3_000
_LONGEST_CELL = 44
#: Characters before the first difference that show where in a text it is.
_LEAD = 12


@dataclass(frozen=True)
class Sample:
    """Rows to play with, held in memory."""

    name: str
    schema: DatasetSchema
    rows: pa.RecordBatch


def take_sample(data: str | Path, schema: str | Path | None = None, *, rows: int = 1_000, seed: int = 1) -> Sample:
    """``rows`` generated records of a data type, or the first good rows of your own file (then ``schema`` is needed).

    Raises:
        MicroflowError: neither a data type nor a readable file, or a schema that does not fit it.
    """
    described = load_schema(schema or str(data))
    if str(data) in DATA_TYPES:
        batches = [batch.rows for batch in generate(str(data), rows, seed)]
    else:
        with Quarantine(None) as quarantine:
            flows = read_microflows(Path(data), described, quarantine=quarantine)
            batches = [flow.rows for flow in islice(flows, -(-rows // MICROFLOW_ROWS))]
    if not batches:
        raise InputError("no usable row", path=data, hint="microflow run FILE --quarantine tells why rows are refused")
    return Sample(Path(data).name, described, pa.concat_batches(batches).slice(0, rows))


@dataclass(frozen=True)
class Trialled:
    """One setting tried on a sample: what was found before, and what left after."""

    sample: Sample
    spec: ProcessingSpec
    found: Counter[tuple[str, str]]
    flagged: npt.NDArray[np.int64]
    released: pa.Table
    ordinals: npt.NDArray[np.int64]
    pure_ns: int

    @property
    def setting(self) -> str:
        """The parameter that matters, as it is said."""
        settings = self.spec.method
        return {
            Method.K_ANONYMITY: f"k={settings.k}",
            Method.DIFFERENTIAL_PRIVACY: f"ε={settings.epsilon:g}",
            Method.TOKENIZATION: f"{settings.key_bits} bits",
        }.get(settings.method, "as it is")

    @cached_property
    def assessment(self) -> Assessment:
        """Risk by attack, loss and utility of this release."""
        original = pa.Table.from_batches([self.sample.rows])
        return assess(original, self.released, self.ordinals, self.sample.schema, attempts=_ATTEMPTS)

    def violations(self) -> Table:
        """What was flagged, by rule and field, most frequent first."""
        rules = {rule.id: rule for rule in self.spec.policy.rules}
        rows = [
            [rule, field, rules[rule].regulation, rules[rule].article, rules[rule].severity, f"{count:,}"]
            for (rule, field), count in self.found.most_common()
        ]
        share = len(self.flagged) / max(self.sample.rows.num_rows, 1)
        caption = f"{len(self.flagged):,} of {self.sample.rows.num_rows:,} records flagged ({share:.1%})"
        return Table(["rule", "field", "regulation", "article", "severity", "violations"], rows, caption)

    def changes(self, records: int = 3) -> Table:
        """Field by field, a few flagged records before and after; unchanged fields are left out."""
        place = {int(ordinal): row for row, ordinal in enumerate(self.ordinals)}
        rows = []
        for ordinal in self.flagged[:records].tolist():
            before = self.sample.rows.slice(ordinal, 1).to_pylist()[0]
            kept = place.get(ordinal)
            after = self.released.slice(kept, 1).to_pylist()[0] if kept is not None else None
            changed = [name for name, value in before.items() if after is None or _text(after[name]) != _text(value)]
            rows += [[str(ordinal), name, *_cells(before[name], after and _text(after[name]))] for name in changed]
        return Table(["record", "field", "before", "after"], rows, "How flagged records change", prose=True)

    def measures(self) -> Table:
        """Risk against utility, in a handful of lines."""
        found = self.assessment
        attack = found.linkage[-1]
        rows = [
            ["linkage attack, success above control", f"{attack.risk:.1%} [{attack.low:.1%}, {attack.high:.1%}]"],
            ["smallest equivalence class (k)", f"{found.achieved.k:,}"],
            ["information loss of quasi-identifiers (GCP)", f"{found.loss.gcp:.3f}"],
            ["rows suppressed", f"{self.sample.rows.num_rows - self.released.num_rows:,}"],
            ["pure processing", f"{self.sample.rows.num_rows / self.pure_ns * 1e9:,.0f} records/s"],
        ]
        if (utility := found.utility) is not None:
            learnt = f"{utility.of_released:.3f} (originals {utility.of_originals:.3f}, chance {utility.by_chance:.3f})"
            rows.append([f"a model of {utility.target}, balanced accuracy", learnt])
        return Table(["measure", "value"], rows, f"{self.spec.method.method.value}, {self.setting}")


def try_setting(sample: Sample, method: MethodSettings, policy: str | Path | None = None) -> Trialled:
    """Check, remedy and anonymize the sample on the batch engine; tokens get a key that nobody keeps."""
    rules = load_policy(policy or sample.schema.policy)
    spec = ProcessingSpec(sample.schema, rules, method, key=secrets.token_bytes(method.key_bits // 8))
    checker = BatchChecker(rules, sample.schema)
    findings = checker.check(sample.rows)
    found = Counter((violation.rule, violation.field) for _, violation in checker.violations(findings))
    clock, processor = PhaseClock(), build_processor(spec)
    done = list(processor.process(microflows([sample.rows]), clock))
    released = pa.Table.from_batches([one.released for one in done], processor.output_schema)
    ordinals = np.concatenate([one.ordinals for one in done]) if done else np.empty(0, np.int64)
    return Trialled(sample, spec, found, findings.flagged.astype(np.int64), released, ordinals, clock.pure_ns)


def latency_frame(spec: ProcessingSpec, sample: Sample) -> pd.DataFrame:
    """Latency over offered load for the three pipelines, simulated from service times measured here and now.

    Columns as `microflow.figures.latency.draw` wants them. Simulated, so that it takes a second and not minutes: the
    experiment RQ-1 measures the same in real time.
    """
    costs = measured_costs(Service(spec, Workload(sample.rows)))
    rows = []
    for load in _LOADS:
        schedule = poisson(load, _ARRIVALS / load, seed=1)
        routers: dict[str, Router] = {
            "batch": StaticRouter(MICROFLOW_ROWS),
            "stream": StaticRouter(1),
            "hybrid": AdaptiveRouter(costs=costs),
        }
        for arm, router in routers.items():
            run = simulate(schedule, router, costs)
            found = run.summary()
            sustained = run.unserved == 0 and run.backlog_slope() < 0.1  # noqa: PLR2004 - short runs are noisy
            p50, p99 = found.p50_ns / 1e6, found.p99_ns / 1e6
            rows.append((sample.name, arm, load, p50, p99, p99, p99, sustained))
    names = ["data_type", "arm", "load", "p50_ms", "p99_ms", "p99_low_ms", "p99_high_ms", "sustained"]
    return pd.DataFrame(rows, columns=names)


def _text(value: object) -> str:
    return "∅" if value is None else str(value)


def _cells(value: object, after: str | None) -> tuple[str, str]:
    """Before and after, cut to where they differ; a record that was suppressed has no after."""
    before = _text(value)
    if after is None:
        return before[:_LONGEST_CELL], "suppressed"
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    alike = max(same - _LEAD, 0)
    return _cut(before, alike), _cut(after, alike)


def _cut(text: str, start: int) -> str:
    end = start + _LONGEST_CELL
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
