"""The health of connections: tests, account polling, failures, retries, maintenance windows."""
