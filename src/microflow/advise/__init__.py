"""What is in this file, which method fits it, and a release that is proved: `describe`, `recommend`, `release`."""
