"""Checks of the engine over each adapter: a price path, and the orders that reach the broker."""
