"""REST under /api/v1/ and the doors for machines: routers, authentication, throttles, problems."""
