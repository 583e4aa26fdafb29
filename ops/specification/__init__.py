"""The specification's words, and where each lives here: the source of docs/specification.md."""
