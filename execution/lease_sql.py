"""SQL on the leases of processes, for health checks: it imports no Django."""

LIVE_OF_HOST = """
SELECT count(*) FROM execution_workerlease WHERE host = %s AND lease_until > clock_timestamp()"""
"""How many trading processes of a host hold their lease. Parameter: the host's name."""
