"""Is this installation well? Named checks, each with what to do about it."""
