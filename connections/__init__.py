"""Broker accounts of tenants: health, credentials, presets, subscriptions, instruments."""
