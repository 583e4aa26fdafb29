"""Access: users, their roles and API keys."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from common.errors import NotAllowedError
from common.permissions import Right, Role
from common.web.admin import ConsoleAdmin, ReadOnlyAdmin, RightDenied
from common.web.badges import badge
from users import services
from users.forms import NewUserForm, PasswordForm, UserForm
from users.keys.rules import ends_soon, has_ended
from users.models import AccountMail, ApiKey, Invitation, User
from users.people.invitations import why_unusable
from users.privileges import require_above

admin.site.unregister(Group)
RIGHTS = ("is_active", "roles", "is_superuser")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ConsoleAdmin):  # type: ignore[type-arg,misc]
    """Staff have roles; tenants bring accounts; providers own feeds.

    You cannot change your own rights, or a user who has more rights (users/privileges.py).
    """

    change_right = Right.USERS
    form = UserForm
    add_form = NewUserForm
    change_password_form = PasswordForm
    list_display = ("username", "email", "role_names", "is_superuser", "is_active", "last_login")
    list_filter = ("groups", "is_superuser", "is_active")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (
            "Person",
            {"fields": ("full_name", ("email", "time_zone"), "email_confirmed_at")},
        ),
        ("Access", {"fields": RIGHTS}),
        ("Dates", {"fields": (("last_login", "date_joined"),)}),
    )
    readonly_fields = ("last_login", "date_joined", "email_confirmed_at")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="Roles")
    def role_names(self, user: User) -> str:
        known = {role.value for role in Role}
        return ", ".join(group.name for group in user.groups.all() if group.name in known)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Make your own rights read-only, and the superuser flag unless you are a superuser."""
        fields = tuple(super().get_readonly_fields(request, obj))
        if obj is not None and obj.pk == request.user.pk:
            return (*fields, "is_active", "role_names", "is_superuser")
        return fields if request.user.is_superuser else (*fields, "is_superuser")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show role names where the page has no form, and so no field for roles."""
        fieldsets = super().get_fieldsets(request, obj)
        is_own = obj is not None and obj.pk == request.user.pk
        if obj is None or (self.has_change_permission(request, obj) and not is_own):
            return fieldsets
        read_only = ("is_active", "role_names", "is_superuser")
        return [
            (title, {**options, "fields": read_only} if options["fields"] == RIGHTS else options)
            for title, options in fieldsets
        ]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form class, bound to the user of the request."""
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"by": request.user}) if obj is not None else form

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if not super().has_change_permission(request, obj):
            return False
        return obj is None or obj.pk == request.user.pk or self._is_below(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # history refers to users; deactivate them instead

    def _is_below(self, request: HttpRequest, user: User) -> bool:
        by: Any = request.user
        try:
            require_above(user, by, Right.USERS)
        except NotAllowedError as error:
            request.refused = error  # type: ignore[attr-defined]
            return False
        return True

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        """Set another user's password. Your own has its own page, which needs the current one."""
        user, by = self.get_object(request, id), request.user
        if user is not None:
            try:
                require_above(user, by, Right.USERS)  # type: ignore[arg-type]
            except NotAllowedError as error:
                raise RightDenied(error) from error
        return super().user_change_password(request, id, form_url)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Save only what was changed, through services: they check the rights again."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        by: Any = request.user
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        rights = {name: changes.pop(name) for name in RIGHTS if name in changes}
        if changes:
            services.update_profile(obj.pk, by=by, **changes)
        if rights:
            services.change_rights(obj.pk, by=by, **rights)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Do nothing: `change_rights` writes the roles, and there are no other relations."""


@admin.register(Group)
class GroupAdmin(ReadOnlyAdmin):
    """The roles and their rights, read-only: they come from common/permissions.py by migration.

    You give roles to a user on the user's page.
    """


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """API keys of all users. Only the hash of a key's secret is stored; the user saw it once."""

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


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    """Links with which one person each may sign up. A link is shown once, when it is made."""

    list_display = ("note", "created_by", "created_at", "expires_at", "used_by", "state")
    list_select_related = ("created_by", "used_by")
    search_fields = ("note", "used_by__username")
    exclude = ("secret_hash",)

    @admin.display(description="State")
    def state(self, invitation: Invitation) -> SafeString:
        if invitation.used_at:
            return badge("ok", "Used")
        if invitation.revoked_at:
            return badge("cancelled", "Revoked")
        return badge("expired", "Ended") if why_unusable(invitation) else badge("attention", "Open")


@admin.register(AccountMail)
class AccountMailAdmin(ReadOnlyAdmin):
    """Mails about logins of the last 30 days, and what became of each. They hold no links."""

    list_display = ("kind", "address", "created_at", "tries", "done_at", "outcome")
    list_filter = ("kind",)
    search_fields = ("=address",)
