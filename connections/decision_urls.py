"""Which URLs a decision provider may have. Names are resolved when a request is sent, not here."""

import ipaddress
from urllib.parse import urlsplit

from common.operational.current import settings_now
from common.web.ip_addresses import is_public, is_read_as_typed, leads_to


def check_url(url: str) -> str:
    """Return what is wrong with a URL, as a sentence; empty: it may be saved.

    http, and addresses in private networks, need networks.outbound_networks.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "This is no valid URL."
    if parts.scheme not in ("http", "https") or not host:
        return "Enter a URL that begins with https://."
    if parts.username is not None or parts.password is not None:
        return "Leave user name and password out of the URL: requests are signed."
    if parts.fragment or any(ord(letter) <= 32 for letter in url):
        return "A URL has no spaces and no part after #."
    return _check_host(host, encrypted=parts.scheme == "https")


def _check_host(host: str, *, encrypted: bool) -> str:
    networks = settings_now().networks.outbound_networks
    if not is_read_as_typed(host):
        return f"{host} is not read as the same server by every program: enter it in full."
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "" if encrypted or networks else f"{host} can only be reached by https."
    if any(leads_to(address) in network for network in networks):
        return ""
    if not is_public(leads_to(address)):
        return f"{host} is in a network that the operators have not allowed."
    return "" if encrypted else f"{host} can only be reached by https."
