"""Settings that all queues share. Their defaults would let a kill take minutes to an hour."""

QUEUE = "peers"
STALLED_SECONDS = 5  # without news of a worker until its tasks are delivered again
LOOK_SECONDS = 5  # between two looks for such tasks
MAINTENANCE_IN_A_MILLION = 100_000  # of Dramatiq's commands; its default is 1,000
