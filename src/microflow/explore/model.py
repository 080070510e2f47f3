"""Computations of the explorer, without widgets: a small sample through the real engine, then measured."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.advise.capacity import ArchitectureLatency, compare_architectures
from microflow.advise.describe import Description, describe
from microflow.advise.descriptor_text import as_yaml, schema_as_yaml
from microflow.advise.sample import FileSample, Release, Trials, command_options, setting_name
from microflow.advise.search import Constraints, Estimate, Search, search
from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess import Assessment, assess
from microflow.compliance import load_policy
from microflow.compliance.findings import Targets
from microflow.datasets import DATA_TYPES, generate
from microflow.descriptors import load_schema
from microflow.engine.service import Service, Workload, measured_costs
from microflow.errors import InputError
from microflow.lab.report import Table
from microflow.schema import DatasetSchema, Role
from microflow.settings import MICROFLOW_ROWS
from microflow.sources import Quarantine, read_microflows
from microflow.sources.files import compression_of, format_of

__all__ = ["LOADS", "Sample", "Trialled", "latencies", "recommended", "take_sample", "try_setting", "with_roles"]

_ATTEMPTS = 200
#: Bytes of a large file that its columns are described by.
_LOOKED_AT = 4 << 20
#: Offered loads, records/s, of the simulated latencies.
LOADS = (500, 2_000, 8_000, 32_000, 128_000)
_LONGEST_CELL = 44
#: Characters before the first difference that show where in a text it is.
_LEAD = 12


@dataclass(frozen=True)
class Sample:
    """Sample of rows for the explorer, held in memory.

    Attributes:
        name: A data type, or the path of a file.
        schema: What its columns mean.
        rows: The rows.
        schema_name: The descriptor as a command line names it.
        description: Why each column is what it is, where no descriptor was given.
        latencies: Those simulated so far, by policy and method.
    """

    name: str
    schema: DatasetSchema
    rows: pa.RecordBatch
    schema_name: str
    description: Description | None = None
    latencies: dict[tuple[str, Method], list[ArchitectureLatency]] = field(
        default_factory=dict, compare=False, repr=False
    )
    _trials: dict[str, Trials] = field(default_factory=dict, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Number of rows."""
        return int(self.rows.num_rows)

    @property
    def file(self) -> str:
        """The file as a command line names it."""
        return f"{self.name}.csv" if self.name in DATA_TYPES else self.name

    def trials(self, policy: str | Path | None = None) -> Trials:
        """Trials of settings on these rows; results of earlier trials under a policy are kept."""
        name = str(policy or self.schema.policy)
        if name not in self._trials:
            whole = FileSample(self.schema, self.rows, self.size)
            self._trials[name] = Trials(whole, load_policy(name))
        return self._trials[name]

    def descriptor(self) -> str:
        """The descriptor as YAML, with the roles as they are now."""
        if self.description is None:
            return schema_as_yaml(self.schema)
        return as_yaml(replace(self.description, schema=self.schema))


def take_sample(data: str | Path, schema: str | Path | None = None, *, rows: int = 1_000, seed: int = 1) -> Sample:
    """``rows`` generated records of a data type, or the first good rows of your own file.

    Without a ``schema`` the columns of a file are described from what its beginning holds.

    Raises:
        MicroflowError: neither a data type nor a readable file, or a schema that does not fit it.
    """
    if str(data) in DATA_TYPES:
        batches = [batch.rows for batch in generate(str(data), rows, seed)]
        return Sample(str(data), load_schema(schema or str(data)), _first(batches, rows, data), str(data))
    found = _described(Path(data)) if schema is None else None
    described = load_schema(str(schema)) if found is None else found.schema
    quarantine = Quarantine()
    flows = read_microflows(Path(data), described, quarantine=quarantine)
    batches = [flow.rows for flow in islice(flows, -(-rows // MICROFLOW_ROWS))]
    name = str(schema) if schema is not None else f"{Path(data).name.split('.')[0]}.yaml"
    return Sample(str(data), described, _first(batches, rows, data), name, found)


def _first(batches: list[pa.RecordBatch], rows: int, data: str | Path) -> pa.RecordBatch:
    if not batches:
        raise InputError("no usable row", path=data, hint="microflow run FILE --quarantine tells why rows are refused")
    return pa.concat_batches(batches).slice(0, rows)


def _described(path: Path) -> Description:
    """A file described by its beginning: a first picture cannot wait for the end of a large one."""
    is_text = format_of(path) == "csv" and compression_of(path) is None and path.is_file()
    if not is_text or path.stat().st_size <= _LOOKED_AT:
        return describe(path)
    with TemporaryDirectory(prefix="microflow-explore-") as folder, path.open("rb") as file:
        head = Path(folder) / path.name
        head.write_bytes(file.read(_LOOKED_AT).rpartition(b"\n")[0])
        return describe(head)


def with_roles(sample: Sample, roles: dict[str, Role]) -> Sample:
    """Sample of the same rows with other roles of some columns; the same object if no role differs."""
    columns = tuple(replace(column, role=roles.get(column.name, column.role)) for column in sample.schema.columns)
    if columns == sample.schema.columns:
        return sample
    # The descriptor that was named no longer says this.
    name = f"{Path(sample.name).name.split('.')[0]}.yaml"
    return replace(sample, schema=replace(sample.schema, columns=columns), schema_name=name, latencies={}, _trials={})


@dataclass(frozen=True)
class Trialled:
    """One setting tried on a sample: what was found before, and what left after."""

    sample: Sample
    settings: MethodSettings
    release: Release
    found: Counter[tuple[str, str]]
    flagged: npt.NDArray[np.int64]

    @property
    def name(self) -> str:
        """The setting as a person says it."""
        return setting_name(self.settings)

    @property
    def command(self) -> str:
        """The command line that does the same to the whole file."""
        source, schema = map(shlex.quote, (self.sample.file, self.sample.schema_name))
        return f"microflow run {source} released.csv --schema {schema} {command_options(self.settings)}"

    @cached_property
    def assessment(self) -> Assessment:
        """Risk by attack, loss and utility of this release."""
        original = pa.Table.from_batches([self.sample.rows])
        return assess(original, self.release.released, self.release.ordinals, self.sample.schema, attempts=_ATTEMPTS)

    @property
    def risk(self) -> Estimate:
        """Success of a linkage attack above its control."""
        attack = self.assessment.linkage[-1]
        return Estimate(attack.risk, attack.low, attack.high, is_extrapolated=False)

    def violations(self) -> Table:
        """Violations by rule and field, most frequent first."""
        rules = {rule.id: rule for rule in self.release.spec.policy.rules}
        rows = [
            [rule, field, rules[rule].regulation, rules[rule].article, rules[rule].severity, f"{count:,}"]
            for (rule, field), count in self.found.most_common()
        ]
        share = len(self.flagged) / max(self.sample.size, 1)
        caption = f"{len(self.flagged):,} of {self.sample.size:,} records flagged ({share:.1%})"
        return Table(["rule", "field", "regulation", "article", "severity", "violations"], rows, caption)

    def changes(self, records: int = 3) -> Table:
        """Field by field, a few flagged records before and after; unchanged fields are left out."""
        place = {int(ordinal): row for row, ordinal in enumerate(self.release.ordinals)}
        rows = []
        for ordinal in self.flagged[:records].tolist():
            before = self.sample.rows.slice(ordinal, 1).to_pylist()[0]
            kept = place.get(ordinal)
            after = self.release.released.slice(kept, 1).to_pylist()[0] if kept is not None else None
            changed = [name for name, value in before.items() if after is None or _text(after[name]) != _text(value)]
            rows += [[str(ordinal), name, *_cells(before[name], after and _text(after[name]))] for name in changed]
        return Table(["record", "field", "before", "after"], rows, "How flagged records change", prose=True)

    def measures(self) -> Table:
        """Risk against utility, in a handful of lines."""
        found, risk = self.assessment, self.risk
        rows = [
            ["linkage attack, success above control", f"{risk.value:.1%} [{risk.low:.1%}, {risk.high:.1%}]"],
            ["smallest equivalence class (k)", f"{found.achieved.k:,}"],
            ["information loss of quasi-identifiers (GCP)", f"{found.loss.gcp:.3f}"],
            ["rows suppressed", f"{self.sample.size - self.release.released.num_rows:,}"],
            ["pure processing", f"{self.sample.size / self.release.pure_ns * 1e9:,.0f} records/s"],
        ]
        if (utility := found.utility) is not None:
            learnt = f"{utility.of_released:.3f} (originals {utility.of_originals:.3f}, chance {utility.by_chance:.3f})"
            rows.append([f"a model of {utility.target}, balanced accuracy", learnt])
        return Table(["measure", "value"], rows, f"{self.name}, n = {self.sample.size:,}")


def try_setting(sample: Sample, settings: MethodSettings, policy: str | Path | None = None) -> Trialled:
    """Check, remedy and anonymize the sample as the batch engine does; tokens get a key that is not kept."""
    release = sample.trials(policy).release(settings, sample.size)
    findings, targets = release.findings, Targets(release.spec.policy, sample.schema).all
    counts = np.bincount(findings.targets, minlength=len(targets)).tolist()
    found = Counter({(target.rule.id, target.field): n for target, n in zip(targets, counts, strict=True) if n})
    return Trialled(sample, settings, release, found, np.unique(findings.rows).astype(np.int64))


def recommended(sample: Sample, max_risk: float, policy: str | Path | None = None) -> Search:
    """Recommendation of `microflow recommend` for the sample itself."""
    return search(sample.trials(policy), Constraints(max_risk))


def latencies(tried: Trialled) -> list[ArchitectureLatency]:
    """Latency over offered load for the three pipelines, *simulated* from service times measured here and now.

    A method's service times hardly depend on its parameter: they are measured once a method, policy and sample.
    """
    spec, known = tried.release.spec, tried.sample.latencies
    key = (spec.policy.name, spec.method.method)
    if key not in known:
        costs = measured_costs(Service(spec, Workload(tried.sample.rows)))
        arms = (compare_architectures(spec, tried.sample.rows, load, costs=costs) for load in LOADS)
        known[key] = [arm for some in arms for arm in some]
    return known[key]


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
