"""Description of a file, recommendation of a method, and a certified release: `describe`, `recommend`, `release`."""
