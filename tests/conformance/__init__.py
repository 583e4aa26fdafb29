"""The conformance suite over every adapter, each against its fake broker."""
