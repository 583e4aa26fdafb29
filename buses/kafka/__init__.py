"""Kafka: an archive of everything that happened to orders, in order for each account."""
