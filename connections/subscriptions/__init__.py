"""Which feeds a connection takes signals of, and since when."""
