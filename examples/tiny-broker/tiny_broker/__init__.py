"""Tiny, an invented broker as an example: each request and each reply is one line of JSON."""
