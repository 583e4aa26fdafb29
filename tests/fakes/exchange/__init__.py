"""Exchanges over HTTP, as ccxt's real client knows them. Their books outlive any client."""
