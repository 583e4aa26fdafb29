"""Orders, positions, the execution log and drift items over HTTP."""
