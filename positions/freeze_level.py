"""The freeze level: nearer to the price, a broker changes no level and no resting order. Pure."""

from collections.abc import Iterable
from decimal import Decimal


def frozen_price(
    prices: Iterable[Decimal | None], market: Decimal, freeze_level: Decimal
) -> Decimal | None:
    """Return the price at which the broker would act and that is too near to the market to change.

    prices: of the levels or of the order, as the broker has them; market: the price that reaches
    them; freeze_level: a distance, 0 for none. All in the quote currency. A price exactly at the
    distance counts as too near: a broker may ask for more than it.
    Source: https://www.mql5.com/en/docs/constants/environment_state/marketinfoconstants
    """
    if freeze_level <= 0:
        return None
    present = [price for price in prices if price is not None]
    nearest = min(present, key=lambda price: abs(price - market), default=None)
    return nearest if nearest is not None and abs(nearest - market) <= freeze_level else None
