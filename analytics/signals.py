"""Django signals by which analytics notify the apps above, which they may not import."""

from django.dispatch import Signal

day_computed = Signal()
"""Sent in the transaction that has computed the results of a trading day.

day: date. accounts: int, how many have results on it.
"""
