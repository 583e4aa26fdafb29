"""The database: statements beside the ORM, sessions, row security, the audit trail."""
