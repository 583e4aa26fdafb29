"""Notify owners when an API key is used from a network that it was never used from.

Stored is the network (a /24 of IPv4, a /48 of IPv6), never the full address: providers change the
last part often, so a full address would cause alarms about nothing. The first network is no alarm.
A key that was made with a key is compared with the networks of both: a thief who makes a key with a
stolen one is noticed as if they had used that one.

It is recorded after the request, in a transaction of its own: a refused call of a thief rolls its
transaction back, and must be noticed all the same. A process remembers what it recorded, so that
a call from a known network costs one look into a dictionary.
"""

import time
from collections import OrderedDict
from ipaddress import ip_address, ip_network

import structlog
from django.db import DatabaseError, InterfaceError

from common.db.sql import rows, run
from common.web.ip_addresses import leads_to
from events.models import EventKind
from events.outbox import INSERT_EVENTS_SQL
from users.models import User
from users.tenancy import on_behalf_of

log = structlog.get_logger(__name__)
IPV4_PREFIX, IPV6_PREFIX = 24, 48
TOUCH_SECONDS = 60.0  # how exact the time of the last use is
REMEMBERED = 10_000  # pairs of key and network in one process
MOST_NETWORKS = 500  # of one key; more are not stored
MOST_ALARMS = 20  # of one key within a day

LOCK = "SELECT user_id FROM users_apikey WHERE id = %s FOR NO KEY UPDATE"
TOUCH = """
UPDATE users_apikeynetwork SET last_used_at = clock_timestamp()
WHERE key_id = %s AND network = %s
"""
RECORD = f"""
WITH known AS (
  SELECT count(*) AS networks,
    count(*) FILTER (WHERE n.key_id = k.id) AS of_this_key,
    count(*) FILTER (WHERE n.network = %(network)s) AS here,
    count(*) FILTER (WHERE n.first_used_at > clock_timestamp() - interval '1 day') AS today
  FROM users_apikey k JOIN users_apikeynetwork n ON n.key_id IN (k.id, k.made_with_id)
  WHERE k.id = %(key)s
), added AS (
  INSERT INTO users_apikeynetwork (key_id, network, first_used_at, last_used_at)
  SELECT %(key)s, %(network)s, clock_timestamp(), clock_timestamp() FROM known
  WHERE of_this_key < %(most)s
  ON CONFLICT (key_id, network) DO NOTHING RETURNING network
)
{INSERT_EVENTS_SQL}
SELECT '{EventKind.API_KEY_NEW_NETWORK.value}', k.user_id, NULL, NULL, NULL,
  jsonb_build_object('key_id', k.id, 'name', k.name, 'prefix', k.prefix, 'page', '/keys/',
    'network', added.network,
    'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
FROM added, known, users_apikey k
WHERE k.id = %(key)s AND known.networks > 0 AND known.here = 0 AND known.today < %(alarms)s
"""

_remembered: OrderedDict[tuple[int, str], float] = OrderedDict()


def network_of(address: str) -> str:
    """Return the network that is stored of an address; "" if it is none."""
    try:
        real = leads_to(ip_address(address.partition("%")[0]))
    except ValueError:
        return ""
    prefix = IPV4_PREFIX if real.version == 4 else IPV6_PREFIX
    return str(ip_network((real, prefix), strict=False))


def record_use(user: User, address: str) -> None:
    """Store from which network the user's key (`key_id`) was used; notify them of a new one.

    Never raises: a call that was answered must not fail by it. The next call tries again.
    """
    key_id, network, now = user.key_id, network_of(address), time.monotonic()
    if key_id is None or not network or _remembered.get((key_id, network), 0.0) > now:
        return
    try:
        with on_behalf_of(user):
            if not run(TOUCH, [key_id, network]):
                _record_new(key_id, network)
    except (DatabaseError, InterfaceError):
        log.exception("the network of an API key was not recorded", key_id=key_id)
        return
    _remembered[key_id, network] = now + TOUCH_SECONDS
    _remembered.move_to_end((key_id, network))
    while len(_remembered) > REMEMBERED:
        _remembered.popitem(last=False)


def forget() -> None:
    """Forget what this process recorded. For tests."""
    _remembered.clear()


def _record_new(key_id: int, network: str) -> None:
    """Add a network. The lock lets two first calls from two networks come one after the other."""
    if rows(LOCK, [key_id]):
        values = {"key": key_id, "network": network, "most": MOST_NETWORKS, "alarms": MOST_ALARMS}
        run(RECORD, values)
