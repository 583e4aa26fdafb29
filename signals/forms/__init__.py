"""Forms of signals and feeds, for people."""
