"""Task queues beside Fillcast on the same machine: docs/peers.md.

`make peers` installs those that are no packages of the product.
"""
