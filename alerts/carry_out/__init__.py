"""What a text that was read does, given the market and the trades that are open."""
