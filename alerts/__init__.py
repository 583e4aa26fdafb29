"""Signals as texts: what arrives is stored, read, and carried out once."""
