"""The adapter of crypto exchanges: ccxt's real client against fake exchanges. No database."""
