"""Operators' lists of accounts, presets, subscriptions, hosts and kill switches.

The pages of a single connection are in `console/`.
"""

# Importing them registers their lists.
import connections.market_data.admin  # noqa: F401
from connections.admin import accounts, decisions, limits, operations, subscriptions  # noqa: F401
