"""The clock, the purity guard and its evidence, latency and resources."""
