"""A paper broker of its own: own tables, own transactions, own books. Spoken to by its adapter."""
