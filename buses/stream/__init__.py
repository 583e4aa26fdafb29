"""The same events for programs over HTTP: server-sent events, each tenant's own."""
