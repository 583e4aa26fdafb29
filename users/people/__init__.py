"""A person's own data: signing up, invitations, address, export, deletion."""
