"""Broker adapters: pure Python without Django (paper's own tables apart)."""
