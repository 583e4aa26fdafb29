"""Where the paper broker is: in this process, or at host:port."""

from django.conf import settings


def elsewhere() -> tuple[str, int] | None:
    """Return host and port of the broker's own process; None: it runs in this one."""
    told: str = settings.FILLCAST_PAPER_BROKER or ""
    return split(told) if told else None


def split(text: str) -> tuple[str, int]:
    """Read `127.0.0.1:8019` or `[::1]:8019`. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) < 65536:
        raise ValueError(text)
    return host.strip("[]"), int(port)
