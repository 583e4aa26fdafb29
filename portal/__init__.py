"""The tenants' web pages, rendered on the server."""
