"""The clock, the purity guard, latency and the statistics of trials."""
