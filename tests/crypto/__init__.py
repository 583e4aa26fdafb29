"""The adapter of crypto exchanges: ccxt's real client against HTTP doubles. No database.

Run alone: `pytest tests/crypto --noconftest` in an environment that has ccxt.
"""
