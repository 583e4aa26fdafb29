"""Users: operators run the installation, tenants bring accounts, providers publish."""

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models

from common.permissions import Right
from users.password_turns import turns
from users.tenancy import on_behalf_of


class User(AbstractUser):
    """A tenant is a user. Operators are staff; providers own feeds."""

    email = models.EmailField("email address", blank=True)
    time_zone = models.CharField(max_length=64, default="UTC", help_text="For screens only.")

    class Meta:
        verbose_name, verbose_name_plural = "user", "users"
        permissions = [(right.value, right.value.replace("_", " ")) for right in Right]

    def clean(self) -> None:
        """Refuse a new name for who exists if gateways go by the old or the new one: they would be
        nobody's, or somebody else's, without a word. Raises ValidationError."""
        super().clean()
        named = {own.username for own in settings.FILLCAST_HOST_OWNERS}
        before = User.objects.filter(pk=self.pk).values_list("username", flat=True).first()
        if before not in (None, self.username) and {before, self.username} & named:
            raise ValidationError(
                {"username": "FILLCAST_HOST_OWNERS names whose gateways are by this name. Change it"
                 " there, restart, then rename."}
            )  # fmt: skip

    @property
    def is_operator(self) -> bool:
        """Operators see every tenant's rows; everyone else only their own."""
        return self.is_active and self.is_staff

    def check_password(self, raw_password: str) -> bool:
        """Compare with the stored hash, outside of any transaction if none is open: it takes long.

        An outdated hash is renewed as the user's own act: a login begins as nobody's request, and
        nobody may write to a user's row.
        """

        def renew(password: str) -> None:
            self.set_password(password)
            self._password = None
            with on_behalf_of(self):
                self.save(update_fields=["password"])

        with turns.turn():
            return check_password(raw_password, self.password, renew)


class TryCount(models.Model):
    """How often something secret was guessed: users/tries.py. The key itself is not stored."""

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


class ApiKey(models.Model):
    """A bearer token for the API. Only its hash is stored; the prefix finds and names it."""

    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True)
    secret_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
