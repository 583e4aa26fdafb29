"""Users: operators run the installation, tenants bring accounts, providers publish."""

from datetime import datetime
from importlib import import_module

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now
from django.utils import timezone

from common.fields import ChoiceField
from common.names import NameField
from common.operational.current import settings_now
from common.permissions import Right, Scope, read_only_rights
from common.spellings import stored_address
from users.password_slots import slots
from users.prepared_passwords import hashed, known_check
from users.tenancy import on_behalf_of


class User(AbstractUser):
    """A tenant is a user. Operators are staff; providers own feeds."""

    email = models.EmailField("email address", blank=True)
    email_confirmed_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When the user proved that they read the address. Another address is unproven.",
    )
    full_name = NameField(
        max_length=255, blank=True, default="", db_default="", help_text="As you write it."
    )
    time_zone = models.CharField(max_length=64, default="UTC", help_text="For screens only.")
    hides_first_steps = models.BooleanField(
        default=False, db_default=False, editable=False,
        help_text="The overview of the portal does not show the first steps.",
    )  # fmt: skip
    ran_preflight = models.BooleanField(
        default=False, db_default=False, editable=False,
        help_text="A preflight of one of their accounts was computed: one of the first steps.",
    )  # fmt: skip
    key_scopes: frozenset[Scope] | None = None  # of the API key that was sent; None: signed in
    key_ends_at: datetime | None = None
    key_id: int | None = None
    has_stale_factor: bool = False  # of the session that was used (users/sign_in/session_factor.py)

    class Meta:
        verbose_name, verbose_name_plural = "user", "users"
        permissions = [(right.value, right.value.replace("_", " ")) for right in Right]
        constraints = (
            models.UniqueConstraint(
                Lower("email"),
                condition=Q(email_confirmed_at__isnull=False),
                name="one_user_of_a_confirmed_address",
                violation_error_message="Another user has confirmed this e-mail address.",
            ),
        )

    def clean(self) -> None:
        """Raise ValidationError for a new name if networks.gateway_owners has the old or new one:
        the gateways would silently lose their owner, or get another."""
        super().clean()
        self.email = stored_address(self.email)
        owners = {own.username for own in settings_now().networks.gateway_owners}
        before = User.objects.filter(pk=self.pk).values_list("username", flat=True).first()
        if before not in (None, self.username) and {before, self.username} & owners:
            raise ValidationError(
                {"username": "networks.gateway_owners gives a gateway to this user name. Change it"
                 " there, then rename."}
            )  # fmt: skip

    @property
    def is_operator(self) -> bool:
        """Whether the user sees every tenant's rows: staff with a role. Others see their own.

        `common.permissions.may` decides what they may do with them.
        """
        return self.is_staff and self.has_perm(Right.READ.codename)  # even if a key's scopes differ

    def check_password(self, raw_password: str) -> bool:
        """Compare with the stored hash. Slow: where possible, call it outside a transaction.

        An outdated hash is renewed on behalf of the user: a sign-in request has no user yet, and
        without one no user row can be written.
        """

        def renew(password: str) -> None:
            self.set_password(password)
            self._password = None
            with on_behalf_of(self):
                self.save(update_fields=["password"])

        known = known_check(self.password, raw_password)
        if known is not None:
            return known
        with slots.slot():
            return check_password(raw_password, self.password, renew)

    def set_password(self, raw_password: str | None) -> None:
        """Set a new password. Its hash is the prepared one where a page has hashed it before."""
        if raw_password is None:
            self.set_unusable_password()
            return
        self.password = hashed(raw_password)
        self._password = raw_password  # type: ignore[assignment]  # the stubs know only None


class SecondFactor(models.Model):
    """A user's authenticator app. Its secret is sealed (users/sign_in/second_factor.py)."""

    user = models.OneToOneField(User, models.CASCADE, related_name="second_factor")
    sealed_secret = models.BinaryField()
    last_step = models.BigIntegerField(help_text="The time step whose code was used last.")
    enrolled_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"second factor of {self.user_id}"


class RecoveryCode(models.Model):
    """A code that replaces a lost authenticator app. It works once and is stored as a hash."""

    user = models.ForeignKey(User, models.CASCADE, related_name="recovery_codes")
    code_hash = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["user", "code_hash"], name="one_recovery_code"),
        )

    def __str__(self) -> str:
        return f"recovery code of {self.user_id}"


class TryCount(models.Model):
    """How often a secret was guessed; only the key's digest is stored.

    users/sign_in/attempt_limits.py counts.
    """

    scope = models.CharField(max_length=40)
    digest = models.CharField(max_length=64)
    tries = models.PositiveIntegerField()
    ends_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["scope", "digest"], name="one_count_of_a_key"),
        )

    def __str__(self) -> str:
        return f"{self.scope}: {self.tries}"


class ApiKeyNotice(models.Model):
    """What a key's owner was notified of (users/keys/notices.py): 1 a week left, 2 a day, 3 ended.

    ends_at: the end that was announced; if the key gets another end, it is announced again.
    """

    key = models.OneToOneField(
        "ApiKey", models.CASCADE, primary_key=True, related_name="end_notice"
    )
    stage = models.SmallIntegerField()
    ends_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"key {self.key_id}: {self.stage}"


class ApiKeyNetwork(models.Model):
    """A network that a key was used from (users/keys/networks.py): never a full address."""

    key = models.ForeignKey("ApiKey", models.CASCADE, related_name="networks")
    network = models.CharField(max_length=50)
    first_used_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["key", "network"], name="one_network_of_a_key"),
        )

    def __str__(self) -> str:
        return f"{self.network} of key {self.key_id}"


class TrailStatus(models.Model):
    """Since when the audit trail is known to be broken (users/trail_alarm.py). Has one row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    broken_at = models.DateTimeField(null=True)
    findings = models.TextField(blank=True, default="", db_default="")

    class Meta:
        default_permissions = ()
        constraints = (models.CheckConstraint(condition=Q(id=1), name="one_trail_status"),)

    def __str__(self) -> str:
        return f"broken since {self.broken_at}" if self.broken_at else "intact"


class ApiKey(models.Model):
    """A bearer token for the API. Only its hash is stored; the prefix identifies it.

    It allows what its scopes name, and never more than its owner may do at that moment.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys")
    name = NameField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True)
    secret_hash = models.CharField(max_length=64)
    scopes = ArrayField(models.CharField(max_length=16), default=read_only_rights)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    made_with = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, editable=False, related_name="made_keys",
        help_text="The API key that it was made with: it is revoked with that one.",
    )  # fmt: skip

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(scopes__len__gt=0, scopes__contained_by=[*map(str, Scope)]),
                name="a_key_has_known_scopes",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_open(self) -> bool:
        """Whether it is neither revoked nor over. What it set up counts for as long."""
        return self.revoked_at is None and self.expires_at > timezone.now()


class LoginSession(AbstractBaseSession):
    """A browser's session, with its user: so users list theirs and sign out everywhere."""

    user_id = models.BigIntegerField(null=True, db_index=True)

    class Meta:
        default_permissions = ()
        verbose_name, verbose_name_plural = "session", "sessions"

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        """Return the store that writes these rows."""
        store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
        return store


class Invitation(models.Model):
    """A link with which one person may sign up. Only its hash is stored."""

    secret_hash = models.CharField(max_length=64, unique=True)
    note = NameField(max_length=200, help_text="For whom it is, as operators will read it.")
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+", null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.ForeignKey(User, models.PROTECT, related_name="+", null=True, blank=True)

    class Meta:
        default_permissions = ()
        ordering = ("-created_at", "-id")
        constraints = (
            models.CheckConstraint(
                condition=Q(used_at__isnull=True, used_by__isnull=True)
                | Q(used_at__isnull=False, used_by__isnull=False),
                name="a_used_invitation_has_a_user",
            ),
            models.CheckConstraint(
                condition=Q(used_at__isnull=True) | Q(revoked_at__isnull=True),
                name="a_revoked_invitation_is_not_used",
            ),
        )

    def __str__(self) -> str:
        return self.note


class AccountMail(models.Model):
    """A mail about a login that must be sent (users/mails/account_mails.py). The row is the job.

    It holds no link: the process that sends it makes the link, so that a reader of the table
    cannot use it.
    """

    class Kind(models.TextChoices):
        SIGN_UP = "sign up", "Link to sign up"
        RESET = "reset", "Link to a new password"
        CONFIRM = "confirm", "Link that confirms an address"
        PASSWORD_RESET = "password reset", "A password was replaced by a link"
        ADDRESS_CHANGED = "address changed", "The address was replaced"
        DELETED = "deleted", "The login was deleted"

    kind = ChoiceField(max_length=20, choices=Kind)
    address = models.EmailField()
    user_id = models.BigIntegerField(null=True, blank=True)
    name = models.CharField(max_length=150, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(db_default=Now())
    tries = models.PositiveSmallIntegerField(default=0, db_default=0)
    done_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        default_permissions = ()
        indexes = (
            models.Index(fields=["due_at"], name="mail_due", condition=Q(done_at__isnull=True)),
            models.Index(fields=["done_at"], name="mail_done", condition=Q(done_at__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.kind} to {self.address}"


class DataExport(models.Model):
    """A user's request for an archive of their data. The row is the job.

    users/people/data_export.py makes it.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Being made"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    user = models.ForeignKey(User, models.CASCADE, related_name="data_exports")
    state = ChoiceField(max_length=8, choices=State, default=State.WAITING)
    requested_at = models.DateTimeField(auto_now_add=True)
    claimed_until = models.DateTimeField(null=True)
    tries = models.PositiveSmallIntegerField(default=0)
    tables_done = models.PositiveSmallIntegerField(default=0)
    tables_total = models.PositiveSmallIntegerField(default=0)
    rows_done = models.BigIntegerField(default=0)
    size = models.BigIntegerField(default=0, help_text="Of the archive, in bytes.")
    ready_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True, db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"data of {self.user_id}: {self.state}"


class DataExportPart(models.Model):
    """A megabyte of an archive."""

    export = models.ForeignKey(DataExport, models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["export", "number"], name="one_part_of_an_archive"),
        )

    def __str__(self) -> str:
        return f"{self.export_id}: {self.number}"
