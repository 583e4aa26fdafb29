"""What every process has: readiness, metrics, traces, memory, queues, the way it ends."""
