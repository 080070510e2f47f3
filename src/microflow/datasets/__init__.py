"""Seeded synthetic data with ground truth, for the four data types."""

from microflow.datasets.generator import DATA_TYPES, GeneratedBatch, generate, write_dataset

__all__ = ["DATA_TYPES", "GeneratedBatch", "generate", "write_dataset"]
