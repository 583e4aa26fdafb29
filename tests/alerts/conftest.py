"""Fixtures of the alert tests: the provider of the signal tests, with both feeds."""

from tests.signals.conftest import feed, operator, provider, unapproved

__all__ = ["feed", "operator", "provider", "unapproved"]
