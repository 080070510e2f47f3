"""Ask your own questions in JupyterLab: a sample, a setting, and at once what it finds, changes, risks and keeps."""

from microflow.explore.model import Sample, Trialled, take_sample, try_setting
from microflow.explore.view import explorer

__all__ = ["Sample", "Trialled", "explorer", "take_sample", "try_setting"]
