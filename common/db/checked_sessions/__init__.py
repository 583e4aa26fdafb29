"""Django's PostgreSQL engine behind a transaction pooler, for processes without shared sessions."""
