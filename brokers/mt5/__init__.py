"""MetaTrader 5 by its own Python package: one terminal for each worker process, on Windows or Wine.

See docs/metatrader5.md.
"""
