"""The demo: a recorded market, 50 tenants and a file of alerts; all other parts are real."""
