"""Broker accounts: their life cycle, who owns them, and what their brokers report of them."""
