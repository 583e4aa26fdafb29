"""The records of feeds, as their followers see them."""
