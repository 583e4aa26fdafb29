"""Broker accounts: health, credentials, presets, subscriptions, instruments and price sources."""
