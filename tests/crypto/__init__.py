"""The adapter of crypto exchanges: ccxt's real client against HTTP doubles. No database."""
