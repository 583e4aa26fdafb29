"""Mails about a login, and the links in them."""
