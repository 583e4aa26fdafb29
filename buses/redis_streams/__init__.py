"""Redis Streams as a bus."""
