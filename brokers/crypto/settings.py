"""The settings of a connection to an account at an exchange."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from brokers.base import ReadFailed
from brokers.types import ConnectionSpec
from common.reason_codes import Code

REPLY_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """market: 'spot' or 'swap' (linear perpetuals). currency: the account's: what spot is quoted in
    and perpetuals settle in. symbols: what the account trades, by ccxt's names; nothing else is
    listed, sent or looked up, since most exchanges look an order up by symbol only. leverage: what
    the owner has set at the exchange. reply_timeout: seconds that an answer is waited for."""

    market: str = "spot"
    currency: str = "USDT"
    symbols: tuple[str, ...] = ()
    sandbox: bool = False
    leverage: Decimal = Decimal(1)
    reply_timeout: float = REPLY_TIMEOUT

    @classmethod
    def of(cls, spec: ConnectionSpec) -> "Settings":
        """Read them. Raises ReadFailed FIELD_INVALID with what is expected."""
        value = spec.settings
        market = str(value.get("market") or "spot")
        if market not in ("spot", "swap"):
            raise ReadFailed(Code.FIELD_INVALID, "market is 'spot' or 'swap'")
        try:
            leverage = Decimal(str(value.get("leverage") or 1))
            reply_timeout = float(value.get("reply_timeout") or REPLY_TIMEOUT)
        except (ValueError, InvalidOperation) as error:
            raise ReadFailed(Code.FIELD_INVALID, "leverage or reply_timeout") from error
        return cls(
            market=market,
            currency=str(value.get("currency") or "USDT").upper(),
            symbols=_read_symbols(value.get("symbols")),
            sandbox=bool(value.get("sandbox", False)),
            leverage=max(Decimal(1), leverage) if market == "swap" else Decimal(1),
            reply_timeout=reply_timeout,
        )


def _read_symbols(value: Any) -> tuple[str, ...]:
    """Read a list, or a text with commas or spaces between."""
    names = (
        value if isinstance(value, (list, tuple)) else str(value or "").replace(",", " ").split()
    )
    return tuple(dict.fromkeys(str(name).strip() for name in names))
