"""What a trading process runs: lane leases, broker sessions, event streams and background jobs."""
