"""The widgets around `microflow.explore.model`: choose, and see at once what it means."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import pandas as pd

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import policy_names
from microflow.datasets import DATA_TYPES
from microflow.errors import MicroflowError
from microflow.explore.model import Sample, Trialled, latency_frame, take_sample, try_setting
from microflow.figures import frontier, latency
from microflow.figures.style import ieee, png

__all__ = ["Explorer", "explorer"]

_OWN_POLICY = "the data's own"
_METHODS = {
    "k-anonymity": Method.K_ANONYMITY,
    "local differential privacy": Method.DIFFERENTIAL_PRIVACY,
    "tokenization": Method.TOKENIZATION,
}


class Explorer:
    """The controls and what they show; every setting that was tried stays in the plot until the data change."""

    def __init__(self, data: str, schema: str | None, rows: int) -> None:
        choices = (*DATA_TYPES, *([] if data in DATA_TYPES else [data]))
        self.data = widgets.Dropdown(options=choices, value=data, description="data")
        self.policy = widgets.Dropdown(options=(_OWN_POLICY, *policy_names()), description="policy")
        self.method = widgets.Dropdown(options=list(_METHODS), description="method")
        self.k = _slider(widgets.IntSlider, "k", value=5, min=2, max=30)
        self.epsilon = _slider(widgets.FloatLogSlider, "ε", value=1.0, min=-1, max=1, step=0.1, readout_format=".2g")
        self.key_bits = widgets.Dropdown(options=(128, 256, 512), value=256, description="key bits")
        self.status = widgets.HTML()
        self.flagged, self.changed, self.measured = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.risk, self.speed = widgets.Image(format="png", width=420), widgets.Image(format="png", width=640)
        self._own_schema = schema
        self._rows = rows
        self._sample: Sample | None = None
        self._tried: dict[tuple[Method, str], Trialled] = {}
        for control in (self.data, self.policy, self.method, self.k, self.epsilon, self.key_bits):
            control.observe(self._changed, names="value")
        self._changed({"owner": self.data})

    @property
    def settings(self) -> MethodSettings:
        """The method and its parameters as chosen; random draws are the same each time."""
        return MethodSettings(
            _METHODS[self.method.value],
            k=self.k.value,
            epsilon=self.epsilon.value,
            key_bits=self.key_bits.value,
            seed=1,
        )

    def view(self) -> widgets.VBox:
        """Everything, laid out."""
        chosen = [self.data, self.policy, self.method, self.k, self.epsilon, self.key_bits, self.status]
        controls = widgets.VBox(chosen, layout=widgets.Layout(flex="0 0 auto"))
        top = widgets.HBox([controls, self.risk, self.measured])
        tabs = widgets.Tab([self.flagged, self.changed, self.speed], titles=("flagged", "changed", "speed"))
        return widgets.VBox([top, tabs])

    def _changed(self, change: dict[str, Any]) -> None:
        try:
            if self._sample is None or change["owner"] in {self.data, self.policy}:
                self._load()
            self._show()
        except MicroflowError as error:
            self.status.value = f"<b style='color:#b00'>{error}</b>"
        else:
            self.status.value = ""

    def _load(self) -> None:
        own = None if self.data.value in DATA_TYPES else self._own_schema
        self._sample = take_sample(self.data.value, own, rows=self._rows)
        self._tried = {}

    def _show(self) -> None:
        assert self._sample is not None
        policy = None if self.policy.value == _OWN_POLICY else self.policy.value
        tried = try_setting(self._sample, self.settings, policy)
        self._tried[tried.spec.method.method, tried.setting] = tried
        self.flagged.value, self.changed.value = tried.violations()._repr_html_(), tried.changes()._repr_html_()
        self.measured.value = tried.measures()._repr_html_()
        with ieee():
            self.risk.value = png(frontier.draw(_frontier(list(self._tried.values()))))
            self.speed.value = png(latency.draw(latency_frame(tried.spec, self._sample)))
        method = tried.spec.method.method
        for control, of in (
            (self.k, Method.K_ANONYMITY), (self.epsilon, Method.DIFFERENTIAL_PRIVACY),
            (self.key_bits, Method.TOKENIZATION),
        ):  # fmt: skip
            control.disabled = method is not of


def explorer(data: str = "healthcare", schema: str | None = None, *, rows: int = 1_000) -> widgets.VBox:
    """The explorer on a data type, or on your own file with its schema (a shipped name or a YAML file)."""
    return Explorer(data, schema, rows).view()


def _slider(kind: type[Any], name: str, **options: Any) -> Any:
    # One computation when the handle is let go, not one for each step on the way.
    return kind(description=name, continuous_update=False, **options)


def _frontier(tried: list[Trialled]) -> pd.DataFrame:
    """What was tried, as `microflow.figures.frontier.draw` wants it, methods together and settings in order."""
    rows = [
        {
            "method": one.spec.method.method.value,
            "setting": one.setting,
            "order": (one.spec.method.k, one.spec.method.epsilon, one.spec.method.key_bits),
            "risk": one.assessment.linkage[-1].risk,
            "risk_low": one.assessment.linkage[-1].low,
            "risk_high": one.assessment.linkage[-1].high,
            "loss": one.assessment.loss.gcp,
        }
        for one in tried
    ]
    frame = pd.DataFrame(rows).sort_values(["method", "order"], ignore_index=True)
    return frame.assign(loss_low=frame["loss"], loss_high=frame["loss"])
