"""Where the paper broker is: in this process, or at host:port."""

from django.conf import settings


def remote_address() -> tuple[str, int] | None:
    """Return host and port of the broker's own process; None: it runs in this one."""
    address: str = settings.FILLCAST_PAPER_BROKER or ""
    return parse_address(address) if address else None


def parse_address(text: str) -> tuple[str, int]:
    """Read `127.0.0.1:8019` or `[::1]:8019`. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) < 65536:
        raise ValueError(text)
    return host.strip("[]"), int(port)
