"""PostgreSQL: models, bulk load, the embedded server."""
