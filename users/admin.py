"""Access: users and their API keys."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from common.admin import ConsoleAdmin, ReadOnlyAdmin
from common.markup import badge
from users.api_keys import ends_soon, has_ended
from users.models import ApiKey, User

admin.site.unregister(Group)


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[misc]  # unfold has no types
    """Sets a password, and writes nothing else of the user."""

    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit=False)
        if commit:
            user.save(update_fields=["password"])
        return user


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ConsoleAdmin):  # type: ignore[type-arg]
    """Operators are staff; tenants bring accounts; providers own feeds."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = PasswordForm
    list_display = ("username", "email", "is_staff", "is_active", "last_login")
    list_filter = ("is_staff", "is_superuser", "is_active")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": (("first_name", "last_name"), ("email", "time_zone"))}),
        (
            "Access",
            {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")},
        ),
        ("Dates", {"fields": (("last_login", "date_joined"),)}),
    )
    readonly_fields = ("last_login", "date_joined")

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # history hangs on a user; deactivate instead


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ConsoleAdmin):
    """Sets of permissions."""


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys of all users. A key's secret was shown once, when it was made; its hash is stored."""

    list_display = (
        "name", "prefix", "user", "may", "state", "created_at", "expires_at", "last_used_at",
    )  # fmt: skip
    list_select_related = ("user",)
    search_fields = ("name", "=prefix", "user__username")
    exclude = ("secret_hash",)

    @admin.display(description="May")
    def may(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description="State")
    def state(self, key: ApiKey) -> SafeString:
        now = timezone.now()
        if key.revoked_at:
            return badge("cancelled", "Revoked")
        if has_ended(key, now=now):
            return badge("expired", "Ended")
        return badge("attention", "Ends soon") if ends_soon(key, now=now) else badge("ok", "Open")
