"""Price sources: which one a connection uses, and the status of each."""
