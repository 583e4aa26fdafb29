"""Everything that talks to brokers: the wire, its lanes and errands, polls, look-ups and sweeps."""
