"""Fake brokers. Each speaks the real protocol of its broker."""
