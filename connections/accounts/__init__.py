"""Broker accounts: life cycle, ownership, identity and snapshots."""
