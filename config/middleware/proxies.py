"""The client's address behind proxies: only headers of proxies that the settings name are used."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from config.env_types import IPNetwork

# Headers in which proxies and clients state where a request came from. All are removed here.
FORWARDED_HEADERS = (
    "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_X_CLIENT_IP",
    "HTTP_CLIENT_IP", "HTTP_TRUE_CLIENT_IP", "HTTP_CF_CONNECTING_IP", "HTTP_X_CLUSTER_CLIENT_IP",
    "HTTP_X_FORWARDED", "HTTP_FORWARDED_FOR", "HTTP_FASTLY_CLIENT_IP", "HTTP_VIA",
)  # fmt: skip


def is_in(address: str, networks: Iterable[IPNetwork]) -> bool:
    """Return whether an address is valid and in one of the networks."""
    try:
        plain = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(plain, "ipv4_mapped", None) or plain
    return any(mapped in network for network in networks)


def caller_of(peer: str, forwarded: str, trusted: Iterable[IPNetwork]) -> str:
    """Return the address that a request came from, as far as it can be trusted.

    peer: the address that opened the connection. forwarded: X-Forwarded-For, to which each proxy
    appends the address of its client. Read from its end, the first address that is not a trusted
    proxy is the caller. An unknown client may have written everything before it.
    """
    networks = tuple(trusted)
    caller = peer
    for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
        if not is_in(caller, networks):
            break
        try:
            caller = str(ip_address(hop))
        except ValueError:
            break
    return caller


def client_of(peer: str, forwarded: str) -> tuple[str, bool]:
    """Return the caller's address, and whether a proxy that the settings trust sent the request."""
    trusted = settings.FILLCAST_TRUSTED_PROXIES
    is_trusted = bool(trusted) and is_in(peer, trusted)
    return (caller_of(peer, forwarded, trusted) if is_trusted else peer), is_trusted


class ProxyMiddleware:
    """Sets REMOTE_ADDR to the caller's address and removes headers of untrusted senders."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        peer = request.META.get("REMOTE_ADDR", "")
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        for header in FORWARDED_HEADERS:
            request.META.pop(header, None)
        address, is_trusted = client_of(peer, forwarded)
        if is_trusted:
            request.META["REMOTE_ADDR"] = address
        else:
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
        return self.get_response(request)
