"""Everything that talks to brokers: the dispatcher, its lanes and background calls, polls, look-ups
and sweeps."""
