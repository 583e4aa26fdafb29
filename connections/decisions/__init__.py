"""Decision providers and news calendars: their services. Public through `connections.services`."""
