"""Crypto exchanges by `ccxt`, an optional extra: spot and linear perpetuals."""
