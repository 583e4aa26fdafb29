"""Where an IP address really leads. For every check of an address that a user entered.

An IPv6 address may contain an IPv4 one, to which a translator or tunnel in our network sends its
packets: `64:ff9b::a00:7` leads to 10.0.0.7 in a network with NAT64.
Source: RFC 4291 §2.5.5, RFC 6052 §2.1, RFC 8215, RFC 2765 §2.1, RFC 3056 §2, RFC 4380 §4.
"""

import re
import unicodedata
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAT64 = IPv6Network("64:ff9b::/96")
LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""A network's own translators: each decides where in the address the IPv4 one is."""
SITE_LOCAL = IPv6Network("fec0::/10")  # deprecated by RFC 3879, but some networks still route it
IN_THE_LAST_BITS = (NAT64, IPv6Network("::ffff:0:0/96"), IPv6Network("::ffff:0:0:0/96"))
COMPATIBLE = IPv6Network("::/96")
_NO_IPV4 = (IPv6Address("::"), IPv6Address("::1"))


def leads_to(address: Address) -> Address:
    """Return the IPv4 address inside an IPv6 one (mapped, translated, NAT64, 6to4 or Teredo).

    Without one, return the address itself, without its zone.
    """
    if isinstance(address, IPv4Address):
        return address
    plain = IPv6Address(int(address))
    compatible = plain in COMPATIBLE and plain not in _NO_IPV4
    if compatible or any(plain in network for network in IN_THE_LAST_BITS):
        return IPv4Address(int(plain) & 0xFFFFFFFF)
    if plain.teredo:
        return plain.teredo[1]
    return plain.sixtofour or plain


def is_public(address: Address) -> bool:
    """Whether the address leads to a single machine on the public internet."""
    real = leads_to(address)
    return real.is_global and not any((real.is_multicast, real in LOCAL_NAT64, real in SITE_LOCAL))


_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)


def is_read_as_typed(host: str) -> bool:
    """Whether every program takes this host for the same machine: an address in full, or a name.

    `127.1`, `0x7f.1`, `2130706433` and wide digits are an address for one library, a name for the
    next one, and nothing for a third, which then calls another server.
    Source: WHATWG URL, "ends in a number".
    """
    plain = host.removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        ip_address(plain)
    except ValueError:
        spelled = unicodedata.normalize("NFKC", host).replace("\u3002", ".")  # IDNA's other dot
        return spelled == host and not _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2])
    return plain.isascii()
