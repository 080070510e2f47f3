"""From files to microflows and back: readers with a quarantine, writers that appear at once or not at all."""

from microflow.sources.places import FORMATS, format_of
from microflow.sources.quarantine import Quarantine
from microflow.sources.reader import read_microflows
from microflow.sources.writers import Writer, open_writer

__all__ = ["FORMATS", "Quarantine", "Writer", "format_of", "open_writer", "read_microflows"]
