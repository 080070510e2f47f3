"""``python -m faults``: the whole matrix, as a table; exit status 1 if anything was lost, doubled or different."""
