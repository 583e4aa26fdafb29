"""The symbols of the fake server: one for each execution mode."""

from typing import Any


def symbol(name: str, bid: float, ask: float, **other: Any) -> dict[str, Any]:
    values = {
        "select": True, "visible": True, "time": 0, "digits": 5, "spread": 10,
        "trade_calc_mode": 0, "trade_mode": 4, "trade_stops_level": 10, "trade_freeze_level": 5,
        "trade_exemode": 2, "expiration_mode": 15, "filling_mode": 3, "order_mode": 127,
        "bid": bid, "ask": ask, "point": 0.00001, "trade_tick_size": 0.00001,
        "trade_contract_size": 100_000.0, "volume_min": 0.01, "volume_max": 100.0,
        "volume_step": 0.01, "volume_limit": 0.0, "margin_initial": 0.0, "currency_base": name[:3],
        "currency_profit": name[3:6], "currency_margin": name[:3], "description": name,
        "name": name, "path": f"Forex\\{name}",
    }  # fmt: skip
    return values | other


def listed() -> list[dict[str, Any]]:
    return [
        symbol("EURUSD", 1.10000, 1.10010),
        symbol("EURUSD.m", 1.10000, 1.10010, filling_mode=1),
        symbol(
            "US500", 5000.0, 5000.5, digits=1, point=0.1, trade_calc_mode=2,
            trade_contract_size=1.0, volume_min=0.1, volume_step=0.1, trade_exemode=3,
            filling_mode=0, currency_base="USD", currency_profit="USD",
        ),
        symbol("USDJPY", 150.0, 150.01, digits=3, point=0.001, trade_exemode=1),
        symbol("OLD", 1.0, 1.1, trade_mode=0),
    ]  # fmt: skip
