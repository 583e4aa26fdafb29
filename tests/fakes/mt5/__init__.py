"""A MetaTrader 5 terminal and its server in a process of its own, and a fake `MetaTrader5` package.

`package/` goes onto the import path; `venue.py` starts the process and sets its faults.
"""
