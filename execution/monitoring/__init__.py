"""Monitoring of open positions: levels reached, stops that brokers missed, pending actions."""
