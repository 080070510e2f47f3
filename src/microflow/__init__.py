"""Microflow: what privacy compliance costs a data pipeline, measured."""

__version__ = "0.1.0"
