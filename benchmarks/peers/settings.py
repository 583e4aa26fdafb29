"""Settings that all queues share. Their defaults would let a kill take minutes to an hour."""

QUEUE = "peers"
STALLED_SECONDS = 10  # without news of a worker until its tasks are delivered again
MAINTENANCE_IN_A_MILLION = 100_000  # of Dramatiq's commands; its default is 1,000
