"""Names each operation of the OpenAPI schema; adds its scope, shared headers and removal."""

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema

from api.headers import shared_parameters
from api.permissions import needed_by, scope_of
from common.web.deprecation import deprecation_of

SCOPE_OF_KEY = "Scope of an API key: "  # ends the description of each operation that takes a key
IRREGULAR = {
    "POST signals/oco": "create_oco_pair",
    "POST signals/oco/preview": "preview_oco_pair",
    "POST signals/bracket": "create_bracket",
    "POST signals/preview": "preview_new_signal",
    "POST channels/browsers": "create_browser_channel",
    "POST channels/webhooks": "create_webhook",
    "POST channels/{}/resend": "resend_channel_code",
    "POST connections/paper": "create_paper_connection",
    "POST connections/{}/sample-order": "place_connection_sample_order",
    "POST data-connections/{}/quotes": "push_quotes",
    "POST news-calendars/{}/events": "import_news_events",
    "POST notifications/read": "mark_notifications_read",
    "POST positions/{}/break-even": "move_stop_to_break_even",
    "POST feeds/{}/alerts/read": "read_feed_alert",
    "POST feeds/{}/telegram-bot": "set_feed_telegram_bot",
    "POST feeds/{}/telegram-bot/remove": "remove_feed_telegram_bot",
    "POST subscriptions/{}/twin": "start_subscription_twin",
    "POST drift/compare": "compare_accounts",
    "GET analytics": "get_totals",
}
COLLECTIONS = {"tokens", "drafts", "terms"}  # below an object; POST creates one of them
VERBS = {"get": "get", "put": "set", "patch": "update", "delete": "delete"}
NAMES = {"drift": "drift-items", "kill-switch": "halts"}  # of what is there
OF_MIXINS = {
    "list": "List {many}",
    "retrieve": "Return {one}",
    "create": "Create {one}",
    "partial_update": "Change {one}",
    "destroy": "Remove {one}",
}


class ScopedSchema(AutoSchema):
    """drf-spectacular's schema with readable names, and the scope of each operation."""

    def get_operation_id(self) -> str:
        """Return a name that stays: it depends on the address and the method only."""
        return operation_id(self.method, self.path, is_list=self._is_list_view())

    def get_tags(self) -> list[str]:
        """Group operations by the resource that is first in their address."""
        segments = _segments(self.path)
        return ["alerts" if self.path.startswith("/hooks/") else segments[0]]

    def get_summary(self) -> str:
        """Return the first sentence of the operation's own description, or what it does."""
        action = getattr(self.view, "action", "")
        if not _has_own_text(self.view, action) and action in OF_MIXINS:
            return _of_mixin(action, _segments(self.path)[0])
        text = " ".join((super().get_description() or "").split())
        return re.split(r"(?<=[^.])[.:](?:\s|$)", text, maxsplit=1)[0].rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]  # the stubs are another version
        """Append the scope to the view's own description; public operations take no key."""
        description: str = super().get_description() or ""
        if (notice := deprecation_of(self.view, self.method)) is not None:
            description = f"{description}\n\n{notice.sentence}".strip()
        if not self.get_auth():
            return description
        scope = self._scope()
        name = f"`{scope}`" if scope else "none: not with a key"
        return f"{description}\n\n{SCOPE_OF_KEY}{name}.".strip()

    def get_override_parameters(self) -> list[Any]:
        """Return the shared parameters; those of `extend_schema` are added to them."""
        own: list[Any] = super().get_override_parameters()
        return [*own, *shared_parameters(self.view, self.method, self.path)]

    def is_deprecated(self) -> bool:
        """Return whether the operation will be removed."""
        return deprecation_of(self.view, self.method) is not None or bool(super().is_deprecated())

    def get_auth(self) -> list[dict[str, Any]]:
        """Return what authenticates, and for API keys the scope that is needed."""
        found: list[dict[str, Any]] = super().get_auth()
        scopes = [self._scope()] if found and self._scope() else []
        return [{name: scopes if name == "apiKey" else [] for name in one} for one in found]

    def _map_serializer_field(
        self, field: Any, direction: Any, bypass_extensions: bool = False
    ) -> Any:
        """Also allow the empty text that a stored choice or address may be.

        A default that is no allowed value, such as the empty text for "left out", is not shown.
        """
        own: Any = super()
        schema = own._map_serializer_field(field, direction, bypass_extensions)
        if "enum" in (schema or ()) and _may_be_empty(field) and "" not in schema["enum"]:
            schema["enum"] = [*schema["enum"], ""]
        if schema and "enum" in schema and schema.get("default") not in schema["enum"]:
            schema.pop("default", None)
        return schema

    def _insert_field_validators(self, field: Any, schema: Any) -> None:
        """Demand no form of an address that may be empty."""
        own: Any = super()
        own._insert_field_validators(field, schema)
        if schema.get("format") in ("email", "uri") and _may_be_empty(field):
            del schema["format"]

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        """Leave out of `required` what the serializer names as `not_always`; mark the fields that
        it names as `deprecated_fields`."""
        own: Any = super()
        schema = own._map_basic_serializer(serializer, direction)
        for name in getattr(serializer, "not_always", ()):
            if name in schema.get("required", ()):
                schema["required"].remove(name)
        for name, notice in getattr(serializer, "deprecated_fields", {}).items():
            if name in schema.get("properties", {}):
                shown = {"deprecated": True, "description": notice.sentence}
                schema["properties"][name] |= shown
        return schema

    def _scope(self) -> str:
        scope = scope_of(self.method, needed_by(self.view, self.method))
        return scope.value if scope else ""


def _may_be_empty(field: Any) -> bool:
    """Whether a field that is only read may hold an empty text."""
    if not getattr(field, "read_only", False):
        return False
    model = getattr(getattr(field.parent, "Meta", None), "model", None)
    for name in str(getattr(field, "source", "") or "").split("."):
        columns = {column.name: column for column in model._meta.get_fields()} if model else {}
        column = columns.get(name)
        if column is None:
            return False
        model = getattr(column, "related_model", None)
    return bool(getattr(column, "blank", False))


def operation_id(method: str, path: str, *, is_list: bool) -> str:
    """Return the name of an operation: a verb, then the objects from the outer to the inner.

    `POST /api/v1/feeds/{slug}/tokens/{token_id}/rotate/` is `rotate_feed_token`.
    """
    if path.startswith("/hooks/"):
        return "get_alert_status" if method == "GET" else "send_alert"
    parts = path.removeprefix("/api/v1/").strip("/").split("/")
    key = f"{method} {'/'.join('{}' if part[0] == '{' else part for part in parts)}"
    return IRREGULAR.get(key) or _regular(method, parts, is_list).replace("-", "_")


def _regular(method: str, parts: list[str], is_list: bool) -> str:
    words = [NAMES.get(word, word) for word in _segments("/".join(parts))]
    owners = [_one(word) for word in words[:-1]]
    last = words[-1]
    if parts[-1].startswith("{"):
        return "_".join([VERBS[method.lower()], *owners, _one(last)])
    if method != "POST":
        verb = "list" if is_list else VERBS[method.lower()]
        return "_".join([verb, *owners, last])
    if not owners or last in COLLECTIONS:
        return "_".join(["create", *owners, _one(last)])
    if not parts[-2].startswith("{"):
        return "_".join([last, *owners[:-1], words[-2]])
    verb, _, rest = last.partition("-")
    return "_".join([verb, *owners, *([rest] if rest else [])])


def _segments(path: str) -> list[str]:
    parts = path.removeprefix("/api/v1/").strip("/").split("/")
    return [part for part in parts if not part.startswith("{")]


def _one(word: str) -> str:
    """Return the name of one of them: `api-keys` → `api-key`."""
    return word[:-1] if word.endswith("s") and word not in ("terms", "analytics") else word


def _of_mixin(action: str, word: str) -> str:
    many = NAMES.get(word, word).replace("-", " ").replace("api ", "API ")
    one = _one(many)
    article = "an" if one[0] in "aAo" else "a"
    return OF_MIXINS[action].format(many=many, one=f"{article} {one}")


def _has_own_text(view: Any, action: str) -> bool:
    method = getattr(view, action, None) if action else None
    defined = getattr(method, "__qualname__", "").split(".")[0]
    return bool(getattr(method, "__doc__", "")) and not defined.endswith("ModelMixin")
