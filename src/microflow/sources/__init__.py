"""From files, folders, tables and object stores to microflows: readers that lose no row."""

from microflow.sources.files import FORMATS, format_of
from microflow.sources.reader import Quarantine, read_microflows

__all__ = ["FORMATS", "Quarantine", "format_of", "read_microflows"]
