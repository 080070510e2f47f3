"""Widgets of the explorer around `microflow.explore.model`.

Work is done in a thread of its own, one setting at a time: a control that is moved again while it runs replaces what
is waiting, so that twenty presses of an arrow key cost two trials and not twenty.
"""

from __future__ import annotations

import html
import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from microflow.advise.page import Point, frontier_svg
from microflow.advise.search import Estimate
from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import policy_names
from microflow.datasets import DATA_TYPES
from microflow.errors import MicroflowError, SchemaError
from microflow.explore.model import (
    LOADS,
    Sample,
    Trialled,
    latencies,
    recommended,
    take_sample,
    try_setting,
    with_roles,
)
from microflow.lab.report import Table
from microflow.pipeline.paths import require_free
from microflow.schema import DatasetSchema, Role
from microflow.sinks.whole_file import write_whole

__all__ = ["Explorer", "explorer"]

_OWN_POLICY = "the data's own"
#: The tab of the columns' roles.
_ROLES = 3
_METHODS = {
    "k-anonymity": Method.K_ANONYMITY,
    "local differential privacy": Method.DIFFERENTIAL_PRIVACY,
    "tokenization": Method.TOKENIZATION,
}


@dataclass(frozen=True)
class _Asked:
    """Values of the controls when work was asked for."""

    data: str
    policy: str | None
    settings: MethodSettings
    max_risk: float
    roles: tuple[tuple[str, Role], ...]
    wants_advice: bool


class Explorer:
    """The controls and what they show; every setting that was tried stays in the plot until the data change.

    Args:
        data: A data type, or the path of a file of yours.
        schema: The descriptor of your file; without one its columns are described from what they hold, and the roles
            that were found can be changed here.
        rows: How many rows to play with.
    """

    def __init__(self, data: str, schema: str | None, rows: int) -> None:
        choices = (*DATA_TYPES, *([] if data in DATA_TYPES else [data]))
        self.data = widgets.Combobox(
            options=choices, value=data, description="data", continuous_update=False,
            tooltip="A data type, or the path of a file of yours",
        )  # fmt: skip
        self.policy = widgets.Dropdown(options=(_OWN_POLICY, *policy_names()), description="policy")
        self.method = widgets.Dropdown(options=list(_METHODS), description="method")
        self.k = _slider(widgets.IntSlider, "k", value=5, min=2, max=30)
        self.epsilon = _slider(widgets.FloatLogSlider, "ε", value=1.0, min=-1, max=1, step=0.1, readout_format=".2g")
        self.key_bits = widgets.Dropdown(options=(128, 256, 512), value=256, description="key bits")
        self.max_risk = _slider(widgets.FloatSlider, "max risk", value=0.09, min=0.0, max=0.5, step=0.01)
        self.advice = widgets.Button(description="Recommend", tooltip="Try all methods on this sample")
        self.save = widgets.Button(description="Save", tooltip="Write the descriptor and these settings beside you")
        self.status = widgets.HTML()
        self.command, self.recommendation = widgets.HTML(), widgets.HTML()
        self.flagged, self.changed, self.measured = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.risk, self.speed = widgets.HTML(), widgets.HTML()
        self.roles = widgets.VBox()
        self.tabs = widgets.Tab(
            [self.flagged, self.changed, self.speed, self.roles], titles=("flagged", "changed", "latency", "roles")
        )
        self._own = {data: schema}
        self._rows = rows
        self._sample: Sample | None = None
        self._data: str | None = None
        self._context: tuple[str, str | None, DatasetSchema] | None = None
        self._tried: dict[str, Trialled] = {}
        self._advised: str | None = None
        self._work = _Latest(self._do)
        for control in (self.data, self.policy, self.method, self.k, self.epsilon, self.key_bits, self.max_risk):
            control.observe(lambda _: self._ask(), names="value")
        self.advice.on_click(lambda _: self._ask(wants_advice=True))
        self.save.on_click(lambda _: self._save())
        self._ask()

    @property
    def settings(self) -> MethodSettings:
        """The method and its parameters as chosen."""
        return MethodSettings(
            _METHODS[self.method.value], k=self.k.value, epsilon=self.epsilon.value, key_bits=self.key_bits.value
        )

    def view(self) -> widgets.VBox:
        """The whole view as widgets."""
        chosen = [
            self.data, self.policy, self.method, self.k, self.epsilon, self.key_bits, self.max_risk, self.advice,
            self.save, self.status,
        ]  # fmt: skip
        controls = widgets.VBox(chosen, layout=widgets.Layout(flex="0 0 auto"))
        self.risk.layout = widgets.Layout(width="640px")
        top = widgets.HBox([controls, self.risk, self.measured])
        return widgets.VBox([top, self.command, self.recommendation, self.tabs])

    def wait(self, seconds: float = 60.0) -> None:
        """Return when everything that was asked for is shown."""
        self._work.wait(seconds)

    def _ask(self, *, wants_advice: bool = False) -> None:
        method = _METHODS[self.method.value]
        for control, of in (
            (self.k, Method.K_ANONYMITY), (self.epsilon, Method.DIFFERENTIAL_PRIVACY),
            (self.key_bits, Method.TOKENIZATION),
        ):  # fmt: skip
            control.disabled = method is not of
        self.status.value = "<i>working …</i>"
        policy = None if self.policy.value == _OWN_POLICY else self.policy.value
        roles = tuple((box.description, Role(box.value)) for box in self.roles.children)
        self._work.ask(_Asked(self.data.value, policy, self.settings, self.max_risk.value, roles, wants_advice))

    def _do(self, asked: _Asked) -> None:
        try:
            sample = self._load(asked)
            if undecided := [column.name for column in sample.schema.with_role(Role.UNDECIDED)]:
                self.tabs.selected_index = _ROLES
                what = "What are they?" if len(undecided) > 1 else "What is it?"
                raise SchemaError(f"undecided: {', '.join(map(repr, undecided))}. {what} Say it under 'roles'")
            tried = try_setting(sample, asked.settings, asked.policy)
            self._tried[tried.name] = tried
            self._show(asked, tried)
            if asked.wants_advice:
                self._advise(asked, sample)
        except MicroflowError as error:
            self._show_error(error)
        else:
            self.status.value = ""

    def _load(self, asked: _Asked) -> Sample:
        """The sample; what was tried before is forgotten where data, policy or roles have changed."""
        if self._sample is None or asked.data != self._data:
            sample = take_sample(asked.data, self._own.get(asked.data), rows=self._rows)
            self._offer_roles(sample)
        else:
            sample = with_roles(self._sample, dict(asked.roles))
        if self._sample is None or (asked.data, asked.policy, sample.schema) != self._context:
            self._tried, self._advised = {}, None
        self._sample, self._data, self._context = sample, asked.data, (asked.data, asked.policy, sample.schema)
        return sample

    def _show_error(self, error: MicroflowError) -> None:
        self.status.value = f"<b style='color:#b00'>{html.escape(str(error))}</b>"

    def _save(self) -> None:
        """Write the descriptor and the settings where the notebook runs; nothing that is there is replaced."""
        sample = self._sample
        if sample is None:
            return
        folder, stem = Path(), Path(sample.name).name.split(".")[0]
        descriptor, options = folder / f"{stem}.yaml", folder / f"{stem}.toml"
        chosen = self.settings
        parameter = {
            Method.K_ANONYMITY: f"k = {chosen.k}",
            Method.DIFFERENTIAL_PRIVACY: f"epsilon = {chosen.epsilon:g}",
            Method.TOKENIZATION: f'key-bits = "{chosen.key_bits}"',
        }[chosen.method]
        try:
            for path in (descriptor, options):
                require_free(path)
            write_whole(descriptor, sample.descriptor())
            write_whole(options, f'schema = "{descriptor}"\n\n[run]\nmethod = "{chosen.method}"\n{parameter}\n')
        except MicroflowError as error:
            self._show_error(error)
        else:
            used = f"microflow --config {options} run {sample.file} released.csv"
            self.status.value = f"written: {descriptor}, {options}. {_code(used)}"

    def _offer_roles(self, sample: Sample) -> None:
        """A choice for each column; changing one asks again."""
        boxes = []
        for column in sample.schema.columns:
            reason = "" if sample.description is None else sample.description.judgements[column.name].reason
            box = widgets.Dropdown(
                options=[str(role) for role in Role], value=str(column.role), description=column.name, tooltip=reason
            )
            box.observe(lambda _: self._ask(), names="value")
            boxes.append(box)
        self.roles.children = tuple(boxes)

    def _show(self, asked: _Asked, tried: Trialled) -> None:
        self.measured.value = tried.measures()._repr_html_()
        self._draw(asked, tried.sample)
        self.command.value = f"the same for the whole file: {_code(tried.command)}"
        self.flagged.value, self.changed.value = tried.violations()._repr_html_(), tried.changes()._repr_html_()
        if not self._work.is_superseded:
            self.status.value = "<i>simulating latency …</i>"
            self.speed.value = _latency_table(tried)._repr_html_()

    def _draw(self, asked: _Asked, sample: Sample) -> None:
        points = [
            Point(
                trial.name, trial.settings.method, trial.risk,
                Estimate(loss, loss, loss, is_extrapolated=False), name == self._advised,
            )
            for name, trial in self._tried.items()
            for loss in [trial.assessment.information_loss]
        ]  # fmt: skip
        self.risk.value = frontier_svg(points, asked.max_risk, note=f"n = {sample.size:,}, attacked here")

    def _advise(self, asked: _Asked, sample: Sample) -> None:
        self.status.value = "<i>trying all methods …</i>"
        found = recommended(sample, asked.max_risk, asked.policy)
        if found.advised is None:
            self.recommendation.value = f"no setting has a risk within {asked.max_risk:g} on these rows"
            return
        tried = try_setting(sample, found.advised.settings, asked.policy)
        self._tried[tried.name], self._advised = tried, tried.name
        self._draw(asked, sample)
        source, schema = map(shlex.quote, (sample.file, sample.schema_name))
        whole = f"microflow recommend {source} --schema {schema} --max-risk {asked.max_risk:g}"
        self.recommendation.value = (
            f"recommended for these {sample.size:,} rows: <b>{html.escape(tried.name)}</b>, which keeps "
            f"{found.advised.utility:.1%} at a risk of {found.advised.risk}: {_code(tried.command)} "
            f"For the whole file: {_code(whole)}"
        )


class _Latest:
    """Runs what was asked for last in a thread of its own; what was superseded before it began is dropped."""

    def __init__(self, work: Callable[[_Asked], None]) -> None:
        self._run = work
        self._condition = threading.Condition()
        self._waiting: _Asked | None = None
        self._is_busy = False

    def ask(self, asked: _Asked) -> None:
        with self._condition:
            if self._waiting is not None and self._waiting.wants_advice:
                return  # the advice that was asked for comes first; what it shows is as new
            self._waiting = asked
            if not self._is_busy:
                self._is_busy = True
                threading.Thread(target=self._loop, name="explorer", daemon=True).start()

    @property
    def is_superseded(self) -> bool:
        """True if something else was asked for meanwhile."""
        return self._waiting is not None

    def wait(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: not self._is_busy, seconds)

    def _loop(self) -> None:
        while True:
            with self._condition:
                asked, self._waiting = self._waiting, None
                if asked is None:
                    self._is_busy = False
                    self._condition.notify_all()
                    return
            self._run(asked)


def explorer(data: str = "healthcare", schema: str | None = None, *, rows: int = 1_000) -> widgets.VBox:
    """The explorer on a data type, or on your own file with its schema (a shipped name or a YAML file)."""
    return Explorer(data, schema, rows).view()


def _slider(kind: type[Any], name: str, **options: Any) -> Any:
    # One computation when the handle is let go, not one for each step on the way.
    return kind(description=name, continuous_update=False, **options)


def _code(command: str) -> str:
    return f"<code>{html.escape(command)}</code>"


def _latency_table(tried: Trialled) -> Table:
    """Load by pipeline, p50 and p99 in milliseconds."""
    found = {(latency.pipeline, latency.rate): latency for latency in latencies(tried)}
    rows = []
    for load in LOADS:
        row = [f"{load:,}"]
        for pipeline in ("batch", "stream", "hybrid"):
            latency = found[pipeline, load]
            row.append(f"{latency.p50_ms:.3g} / {latency.p99_ms:.3g}" if latency.is_sustained else "backlog grows")
        rows.append(row)
    caption = "Latency in ms, p50 / p99, simulated from service times measured here; Poisson arrivals"
    return Table(["records/s", "batch", "stream", "hybrid"], rows, caption)
