"""The settings of a connection to an account at an exchange."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from brokers.base import ReadFailed
from brokers.types import ConnectionSpec
from common.reason_codes import Code

REPLY_TIMEOUT = 10.0


class MarginMode(StrEnum):
    """What stands for the losses of perpetuals."""

    CROSS = "cross"  # the whole account
    ISOLATED = "isolated"  # what each position was opened with


DEFAULT_MARGIN_MODE = MarginMode.CROSS  # where each order names one, and the account demands none


@dataclass(frozen=True, slots=True)
class Settings:
    """market: 'spot' or 'swap' (linear perpetuals). currency: the account's: what spot is quoted in
    and perpetuals settle in. symbols: what the account trades, by ccxt's names; nothing else is
    listed, sent or looked up, since most exchanges look an order up by symbol only. margin_mode,
    leverage: what entries in perpetuals demand; None: whatever the exchange has. reply_timeout:
    seconds that an answer is waited for."""

    market: str = "spot"
    currency: str = "USDT"
    symbols: tuple[str, ...] = ()
    sandbox: bool = False
    margin_mode: MarginMode | None = None
    leverage: Decimal | None = None
    reply_timeout: float = REPLY_TIMEOUT

    @classmethod
    def of(cls, spec: ConnectionSpec) -> "Settings":
        """Read them. Raises ReadFailed FIELD_INVALID with what is expected."""
        value = spec.settings
        market = str(value.get("market") or "spot")
        if market not in ("spot", "swap"):
            raise ReadFailed(Code.FIELD_INVALID, "market is 'spot' or 'swap'")
        try:
            leverage = Decimal(str(value.get("leverage") or 0))
            mode = MarginMode(value["margin_mode"]) if value.get("margin_mode") else None
            reply_timeout = float(value.get("reply_timeout") or REPLY_TIMEOUT)
        except (ValueError, InvalidOperation) as error:
            raise ReadFailed(Code.FIELD_INVALID, "margin_mode, leverage, reply_timeout") from error
        return cls(
            market=market,
            currency=str(value.get("currency") or "USDT").upper(),
            symbols=_read_symbols(value.get("symbols")),
            sandbox=bool(value.get("sandbox", False)),
            margin_mode=mode if market == "swap" else None,
            leverage=leverage if market == "swap" and leverage > 0 else None,
            reply_timeout=reply_timeout,
        )


def _read_symbols(value: Any) -> tuple[str, ...]:
    """Read a list, or a text with commas or spaces between."""
    names = (
        value if isinstance(value, (list, tuple)) else str(value or "").replace(",", " ").split()
    )
    return tuple(dict.fromkeys(str(name).strip() for name in names))
