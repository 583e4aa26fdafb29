"""Sending orders to brokers and applying what comes back: dispatcher, background calls, report
writer."""
