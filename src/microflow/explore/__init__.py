"""Explorer for JupyterLab: a sample and a setting, and at once its findings, changes, risk and utility."""

from microflow.explore.model import Sample, Trialled, take_sample, try_setting
from microflow.explore.view import explorer

__all__ = ["Sample", "Trialled", "explorer", "take_sample", "try_setting"]
