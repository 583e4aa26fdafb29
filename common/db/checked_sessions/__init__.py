"""Django's PostgreSQL engine behind a transaction pooler."""
