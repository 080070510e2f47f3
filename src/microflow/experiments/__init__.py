"""The matrix as data, the runner, and the research questions."""
