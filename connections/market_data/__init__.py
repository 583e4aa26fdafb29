"""Which price source a connection trades on, and the state of each source."""
