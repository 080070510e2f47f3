"""Assessment of a release: by attack and by comparison with the original, never by a method's own formula."""

from microflow.assess.assessment import Assessment, assess, render
from microflow.assess.pair import align, needed_columns

__all__ = ["Assessment", "align", "assess", "needed_columns", "render"]
