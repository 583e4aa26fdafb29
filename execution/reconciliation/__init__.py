"""What we hold against what the broker holds: compared, written down, decided, put right."""
