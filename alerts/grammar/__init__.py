"""The reader of texts: its words, its rules, and what they do. Pure.

`lexicon.toml`, `entry.grammar`, `update.grammar`, `readings.toml` and `bounds.toml` are the data.
"""
