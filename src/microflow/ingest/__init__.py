"""From files to microflows and back: readers with a quarantine, writers that appear at once or not at all."""
