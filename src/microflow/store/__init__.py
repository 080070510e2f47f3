"""PostgreSQL: models, bulk load, the embedded server.

Guarantee: what is inserted together is stored together or not at all, also when the client, the server or the line
between them dies half way.
"""
