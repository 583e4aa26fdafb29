"""A MetaTrader 5 terminal with its trade server, as a process, and a fake `MetaTrader5` package.

Tests put `package/` onto the import path. `fake_terminal.py` starts the process and sets faults.
"""
