"""How ccxt's exchange objects are set up."""

from typing import Any

from brokers.crypto.exchanges import Exchange, MarginApi
from brokers.crypto.settings import DEFAULT_MARGIN_MODE, Settings


def ccxt_options(exchange_rules: Exchange, settings: Settings) -> dict[str, Any]:
    """Return ccxt's options; only the account's market is loaded."""
    types = ["linear"] if settings.market == "swap" else ["spot"]
    if exchange_rules.name == "okx":  # which names them by `instType`
        types = [settings.market]
    swap = {"defaultSubType": "linear"} if settings.market == "swap" else {}
    if exchange_rules.margin is MarginApi.ORDER and settings.market == "swap":
        # Elsewhere ccxt would send spot orders as margin orders.
        swap["defaultMarginMode"] = str(settings.margin_mode or DEFAULT_MARGIN_MODE)
    return {
        **swap,
        "defaultType": settings.market,
        "defaultSettle": settings.currency,
        "adjustForTimeDifference": False,  # see exchange_clock.py
        "maxRetriesOnFailure": 0,
        "fetchMarkets": {"types": types},
    }


def redirected(urls: Any, base_url: str) -> Any:
    """Return all addresses of an exchange at another host, with the same paths."""
    if isinstance(urls, dict):
        return {name: redirected(url, base_url) for name, url in urls.items()}
    path = str(urls).partition("://")[2].partition("/")[2]
    return f"{base_url}/{path}" if path else base_url
