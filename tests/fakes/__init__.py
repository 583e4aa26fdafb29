"""Doubles of brokers, each at the level of its own protocol."""
