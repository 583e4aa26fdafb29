"""The reader of texts: its words, its rules, and what they do. Pure.

`lexicon.toml`, `entry.grammar`, `update.grammar`, `refusals.toml` and `bounds.toml` are the data.
"""
