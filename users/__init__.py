"""Users, their roles and rights, API keys, sign-in, tenancy."""
