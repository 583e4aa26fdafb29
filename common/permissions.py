"""Who may do what: the one table of roles and rights.

A right is permission for an action; a role is a set of rights. Staff act by their roles alone; all
others (tenants, providers) act on their own rows alone. API, console, portal, services and commands
all call `may` or `require`. `docs/roles.md` is generated from this table, and a migration of
`users` writes it to the database: a role is a Django group, a right is a Django permission.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from common.errors import NotAllowedError
from common.reason_codes import Code

LABEL = "users"  # the Django app whose permissions the rights are


class Caller(Protocol):
    """The part of a user that `may` needs."""

    @property
    def pk(self) -> Any: ...
    @property
    def is_active(self) -> Any: ...
    @property
    def is_staff(self) -> Any: ...
    def has_perm(self, perm: str, obj: Any = None) -> bool: ...


class Scope(StrEnum):
    """What an API key is limited to. A key never allows more than its owner may do."""

    READ = "read"
    TRADE = "trade"
    PUBLISH = "publish"
    OPERATE = "operate"
    PRICES = "prices"


class Right(StrEnum):
    """A right to an action; its value is the permission's code name."""

    READ = "read_everything"
    PUBLISH = "publish_signals"
    APPROVE = "approve_signals"
    FEEDS = "manage_feeds"
    TRADE = "trade"
    RETRY = "retry_orders"
    RECONCILE = "decide_differences"
    CONNECTIONS = "manage_connections"
    CREDENTIALS = "replace_credentials"
    LIMITS = "change_limits"
    HALT = "set_kill_switch"
    RELEASE = "release_kill_switch"
    PRICES = "manage_price_sources"
    SHARE_PRICES = "share_price_sources"
    PUSH_PRICES = "push_prices"
    MAINTENANCE = "manage_maintenance"
    PAPER = "manage_paper_broker"
    SCHEDULES = "manage_schedules"
    SETTINGS = "change_settings"
    USERS = "manage_users"
    API_KEYS = "manage_api_keys"

    @property
    def codename(self) -> str:
        """The permission as Django names it: `users.publish_signals`."""
        return f"{LABEL}.{self.value}"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a right means.

    description: what it allows, as the end of "you may …". scope: the scope that an API key needs
    for it. owners: whether all users have it for their own rows.
    """

    description: str
    scope: Scope
    owners: bool = False


RIGHTS: Mapping[Right, Meaning] = {
    Right.READ: Meaning("read all users' rows and the console; never a secret", Scope.READ),
    Right.PUBLISH: Meaning("write, publish and cancel signals", Scope.PUBLISH, owners=True),
    Right.APPROVE: Meaning("approve and reject signals and feeds", Scope.PUBLISH),
    Right.FEEDS: Meaning(
        "add, change and archive feeds; make and revoke their alert tokens",
        Scope.PUBLISH,
        owners=True,
    ),
    Right.TRADE: Meaning(
        "cancel orders, move levels, close positions; place sample orders on demo accounts",
        Scope.TRADE,
        owners=True,
    ),
    Right.RETRY: Meaning("send a failed order again", Scope.TRADE),
    Right.RECONCILE: Meaning(
        "compare accounts with their brokers and decide about differences",
        Scope.TRADE,
        owners=True,
    ),
    Right.CONNECTIONS: Meaning(
        "add, change, test, pause and archive connections and their subscriptions",
        Scope.OPERATE,
        owners=True,
    ),
    Right.CREDENTIALS: Meaning(
        "enter and replace the credentials of a connection", Scope.OPERATE, owners=True
    ),
    Right.LIMITS: Meaning(
        "change presets: how large a trade may be and its limits", Scope.OPERATE, owners=True
    ),
    Right.HALT: Meaning("set the kill switch", Scope.OPERATE, owners=True),
    Right.RELEASE: Meaning(
        "release the kill switch and recovery epochs", Scope.OPERATE, owners=True
    ),
    Right.PRICES: Meaning("change price sources", Scope.OPERATE, owners=True),
    Right.SHARE_PRICES: Meaning("share an account's prices with all users", Scope.OPERATE),
    Right.PUSH_PRICES: Meaning("push quotes to a price source", Scope.PRICES, owners=True),
    Right.MAINTENANCE: Meaning("change brokers' maintenance windows", Scope.OPERATE),
    Right.PAPER: Meaning("change how the paper broker behaves", Scope.OPERATE),
    Right.SCHEDULES: Meaning("change what is started when (schedules)", Scope.OPERATE),
    Right.SETTINGS: Meaning(
        "change the operational settings, import them and restore a version", Scope.OPERATE
    ),
    Right.USERS: Meaning("add and change users, their roles and passwords", Scope.OPERATE),
    Right.API_KEYS: Meaning("make and revoke other users' API keys", Scope.OPERATE),
}


class Role(StrEnum):
    """A set of rights for staff; its value is the group's name."""

    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    RISK_OFFICER = "risk officer"
    SUPPORT = "support"


ROLES: Mapping[Role, frozenset[Right]] = {
    Role.ADMINISTRATOR: frozenset(Right),
    Role.OPERATOR: frozenset(
        {
            Right.READ, Right.PUBLISH, Right.APPROVE, Right.FEEDS, Right.TRADE, Right.RETRY,
            Right.RECONCILE, Right.CONNECTIONS, Right.CREDENTIALS, Right.HALT, Right.RELEASE,
            Right.PRICES, Right.SHARE_PRICES, Right.PUSH_PRICES, Right.MAINTENANCE, Right.PAPER,
        }
    ),
    Role.RISK_OFFICER: frozenset({Right.READ, Right.LIMITS, Right.HALT, Right.RELEASE}),
    Role.SUPPORT: frozenset({Right.READ}),
}  # fmt: skip


OWN = "own"  # in a table of rights: your own data (keys, channels), which needs no right


def may(user: Caller, right: Right, *, owner_id: int | None = None) -> bool:
    """Whether a user may do this. owner_id: the owner of the row; None: it has no single owner.

    Staff may do what their roles include (a superuser everything), with any row. Others may do what
    owners may, with their own rows. An API key limits this to its scopes.
    """
    return refusal(user, right, owner_id=owner_id) is None


def require(by: Caller | None, right: Right, *, owner_id: int | None = None) -> None:
    """Raise NotAllowedError unless `by` may do this. by: None is the system, which may."""
    if by is not None and (error := refusal(by, right, owner_id=owner_id)) is not None:
        raise error


def refusal(user: Caller, right: Right, *, owner_id: int | None = None) -> NotAllowedError | None:
    """Return the error that explains why a user may not do this; None if they may."""
    if not user.is_active or user.pk is None:
        return NotAllowedError(Code.PERMISSION_DENIED)
    if user.is_staff:
        has_right = user.has_perm(right.codename)
    else:
        has_right = RIGHTS[right].owners and owner_id == user.pk
    if not has_right:
        return _missing(user, right)
    scope = scope_for(right)
    return None if _in_scope(user, scope) else _out_of_scope(scope)


def scope_for(needed: Right | str) -> Scope:
    """Return the scope that an API key needs for a right, or for `OWN`."""
    return RIGHTS[needed].scope if isinstance(needed, Right) else Scope.OPERATE


def require_scope(user: Caller, scope: Scope) -> None:
    """Raise NotAllowedError for an API key without this scope."""
    if not _in_scope(user, scope):
        raise _out_of_scope(scope)


def _missing(user: Caller, right: Right) -> NotAllowedError:
    if RIGHTS[right].owners and not user.is_staff:
        detail = f"This is not yours, so you may not {RIGHTS[right].description}."
        return NotAllowedError(Code.PERMISSION_DENIED, detail)
    return NotAllowedError(
        Code.RIGHT_MISSING,
        f"You may not {RIGHTS[right].description}: that needs the role "
        f"{_either(roles_with(right))}. An "
        "administrator gives roles, in the console under Access.",
        right=right.value,
        roles=", ".join(roles_with(right)),
    )


def _in_scope(user: Caller, scope: Scope) -> bool:
    """Whether the request's API key has the scope; `key_scopes` is None for a signed-in user."""
    scopes = getattr(user, "key_scopes", None)
    return scopes is None or scope in scopes


def _out_of_scope(scope: Scope) -> NotAllowedError:
    detail = f"This API key lacks the scope {scope.value!r}. Use a key that has it, or make one."
    return NotAllowedError(Code.RIGHT_MISSING, detail, scope=scope.value)


def roles_with(right: Right) -> list[str]:
    """Return the roles that have a right, in the table's order."""
    return [role.value for role, rights in ROLES.items() if right in rights]


def _either(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def read_only_rights() -> list[str]:
    """Return the default scopes of an API key."""
    return [Scope.READ.value]
