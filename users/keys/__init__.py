"""API keys: their rules, networks, notices, and what was set up with them."""
