"""Policies as data, compiled to one pass over a batch and to one callable a record."""
