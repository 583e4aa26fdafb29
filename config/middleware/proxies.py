"""Who is calling, if proxies of ours stand before us: they are named, nobody else is believed."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from config.env_types import IPNetwork

# What proxies and clients write about where a request came from. None of it reaches the rest of us.
FORWARDED_HEADERS = (
    "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_X_CLIENT_IP",
    "HTTP_CLIENT_IP", "HTTP_TRUE_CLIENT_IP", "HTTP_CF_CONNECTING_IP", "HTTP_X_CLUSTER_CLIENT_IP",
    "HTTP_X_FORWARDED", "HTTP_FORWARDED_FOR", "HTTP_FASTLY_CLIENT_IP", "HTTP_VIA",
)  # fmt: skip


def is_in(address: str, networks: Iterable[IPNetwork]) -> bool:
    """Whether an address is written well and lies in one of the networks."""
    try:
        plain = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(plain, "ipv4_mapped", None) or plain
    return any(mapped in network for network in networks)


def caller_of(peer: str, forwarded: str, trusted: Iterable[IPNetwork]) -> str:
    """Return the address that a request came from, as far as it is known for sure.

    peer: who opened the connection. forwarded: X-Forwarded-For, to which each proxy appends whom it
    heard; read from its end, the first that is not one of ours is the caller. What stands before
    that was written by somebody whom we do not know.
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


class ProxyMiddleware:
    """Sets REMOTE_ADDR to the caller's address and takes away what nobody of ours has said."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        trusted, peer = settings.FILLCAST_TRUSTED_PROXIES, request.META.get("REMOTE_ADDR", "")
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        for claim in FORWARDED_HEADERS:
            request.META.pop(claim, None)
        if is_in(peer, trusted):
            request.META["REMOTE_ADDR"] = caller_of(peer, forwarded, trusted)
        else:
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
        return self.get_response(request)
