"""Store signals, publish them, and close what they opened."""
