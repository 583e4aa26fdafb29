"""What arrives for feeds, whatever its source: stored at once, published by a worker."""
