"""Open positions: levels that are reached, stops that brokers missed, and pending actions."""
