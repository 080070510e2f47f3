"""Print-ready plots and tables, drawn from the database only."""
