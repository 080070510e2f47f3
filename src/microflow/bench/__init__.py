"""Every speed we claim, measured beside its reference in one run."""
