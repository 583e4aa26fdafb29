"""Subscriptions: which feeds a connection takes signals of."""
