"""Readers from files, folders, tables and object stores to microflows; every row is accounted for."""

from microflow.sources.files import FORMATS, format_of
from microflow.sources.reader import Quarantine, read_microflows

__all__ = ["FORMATS", "Quarantine", "format_of", "read_microflows"]
