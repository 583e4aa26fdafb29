"""What the console's pages read, set-based and without a request."""
