"""What a feed allows of its alerts: from where, how many, signed or not, in which symbols."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from common.errors import InvalidInputError, NotAllowedError
from common.reason_codes import Code
from signals.models import Action, Feed
from signals.reading.draft import SignalDraft
from signals.symbols import read_pair

TRADINGVIEW = "tradingview"
# The addresses from which TradingView sends webhooks, as its help page on webhooks lists them.
PRESETS = {TRADINGVIEW: ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")}
MAX_SOURCES, MAX_SYMBOLS = 50, 200


def read_sources(texts: Sequence[str]) -> list[str]:
    """Return network addresses and presets in their canonical spelling, each once.

    Raises InvalidInputError FIELD_INVALID with the first that is neither.
    """
    if len(texts) > MAX_SOURCES:
        detail = f"At most {MAX_SOURCES} addresses; these are {len(texts)}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="alert_sources")
    return list(dict.fromkeys(_read_source(text) for text in texts))


def _read_source(text: str) -> str:
    name = text.strip().lower()
    if name in PRESETS:
        return name
    try:
        network = ip_network(name, strict=False)
    except ValueError as error:
        detail = (
            f"{text!r} is not a network address such as 203.0.113.7 or 203.0.113.0/24, nor "
            f"{TRADINGVIEW!r}."
        )
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="alert_sources") from error
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def read_symbols(texts: Sequence[str]) -> list[str]:
    """Return pairs in their canonical spelling, each once. Raises InvalidInputError."""
    if len(texts) > MAX_SYMBOLS:
        detail = f"At most {MAX_SYMBOLS} symbols; these are {len(texts)}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="alert_symbols")
    try:
        return list(dict.fromkeys(read_pair(text) for text in texts))
    except InvalidInputError as error:
        raise InvalidInputError(error.code, error.detail, field="alert_symbols") from error


def require_source(feed: Feed, address: str) -> None:
    """Raise NotAllowedError unless the feed accepts alerts, and shows them, to this network
    address."""
    if feed.alert_sources and not _is_from(address, _networks(feed.alert_sources)):
        detail = f"It came from {address or 'an unknown address'}, which is not listed."
        raise NotAllowedError(Code.ALERT_SOURCE_NOT_ALLOWED, detail)


def loosens(feed: Feed, changes: Mapping[str, Any]) -> bool:
    """Return whether changes of a feed let in alerts that it refuses now: unsigned ones, or those
    from further network addresses. Together the two rules are all that makes a leaked unsigned
    address useless."""
    if feed.alerts_signed_only and not changes.get("alerts_signed_only", True):
        return True
    after = changes.get("alert_sources")
    if after is None or not feed.alert_sources:
        return False
    allowed = _networks(feed.alert_sources)
    return not after or not all(_is_within(one, allowed) for one in _networks(after))


def _is_within(
    one: IPv4Network | IPv6Network, allowed: Iterable[IPv4Network | IPv6Network]
) -> bool:
    same = [network for network in allowed if network.version == one.version]
    return any(one.subnet_of(network) for network in same)  # type: ignore[arg-type]


def _networks(sources: Iterable[str]) -> list[IPv4Network | IPv6Network]:
    return [ip_network(text) for name in sources for text in PRESETS.get(name, (name,))]


def _is_from(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    plain = getattr(found, "ipv4_mapped", None) or found
    return any(plain in network for network in networks)


def entry_symbol_error(feed: Feed, draft: SignalDraft | None) -> InvalidInputError | None:
    """Return the error of an alert that opens a trade in a symbol that the feed does not allow.

    None for one that is allowed, that opens nothing, or whose currency is not known yet.
    """
    if draft is None or draft.action != Action.OPEN or not feed.alert_symbols:
        return None
    if "/" not in draft.pair or draft.pair in feed.alert_symbols:
        return None
    detail = f"This feed opens trades by alerts only in {', '.join(feed.alert_symbols[:20])}."
    return InvalidInputError(Code.ALERT_SYMBOL_NOT_ALLOWED, detail, field=draft.symbol_field)
