"""Ordered streams of records: in memory by default, Kafka when asked."""
