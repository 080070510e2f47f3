"""Batch, stream and hybrid engines on one contract."""
