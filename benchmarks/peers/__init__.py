"""Others beside Fillcast on the same machine: task queues, a trading bot, a trading engine.

Their packages are no dependencies of the product: `make peers` installs them below var/peers. See
docs/peers.md.
"""
