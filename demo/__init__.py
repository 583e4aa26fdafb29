"""The demo: a recorded market, 50 tenants, a file of alerts, and everything real in between."""
