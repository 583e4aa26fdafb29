"""Operational settings: stored with versions, effective in every process while it runs.

`settings_now()` of `current` returns the document in force; `store` writes a new version of it.
docs/operational-settings.md.
"""
