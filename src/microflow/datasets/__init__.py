"""Seeded synthetic data with ground truth, for the four data types."""
