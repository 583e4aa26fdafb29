"""The REST API under /api/v1/, alerts under /hooks/, health and metrics."""
