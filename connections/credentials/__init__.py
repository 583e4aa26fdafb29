"""Credentials: sealed on entry, opened only by trading processes, sealed again for a new key."""
