"""Who is calling: the custom user, roles, API keys."""
