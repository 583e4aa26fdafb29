"""The audit trail's tables, whose lines only the database's functions write; kept answers."""

from django.conf import settings
from django.db import models


class TrailLine(models.Model):
    """One change of one row of a tracked table. Ids are plain: a line outlives its row."""

    class Operation(models.TextChoices):
        INSERT = "insert", "Created"
        UPDATE = "update", "Changed"
        DELETE = "delete", "Removed"

    number = models.BigIntegerField(null=True, unique=True, help_text="Without gaps, by commit.")
    at = models.DateTimeField()
    operation = models.CharField(max_length=6, choices=Operation)
    relation = models.CharField(max_length=63)
    row_id = models.TextField()
    before = models.JSONField(null=True, help_text="Changed columns, or the removed row.")
    after = models.JSONField(null=True, help_text="Changed columns, or the new row.")
    user_id = models.BigIntegerField(null=True)
    address = models.TextField(blank=True, default="", help_text="The caller's network address.")
    origin = models.TextField(help_text="API, portal, console, alert, command, task or database.")
    context = models.JSONField(default=dict)
    login = models.TextField(help_text="The database login, and the role that it worked as.")
    hash = models.CharField(max_length=64, null=True)

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["relation", "row_id"], name="trail_of_a_row"),
            models.Index(fields=["user_id", "-id"], name="trail_of_a_user"),
            models.Index(
                fields=["id"], name="trail_unnumbered", condition=models.Q(number__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.operation} {self.relation} {self.row_id}"


class TrailHead(models.Model):
    """One row with the number of lines and the hash of the last one."""

    lines = models.BigIntegerField()
    hash = models.CharField(max_length=64, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.lines} lines"


class TrailCheckpoint(models.Model):
    """The head at one time, signed with a key that the database does not have."""

    at = models.DateTimeField()
    number = models.BigIntegerField()
    hash = models.CharField(max_length=64)
    signature = models.TextField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"line {self.number}"


class KeptAnswer(models.Model):
    """What a POST request with an Idempotency-Key was answered: common/repeatable.py.

    fingerprint: a keyed hash of the request's contents. is_secret: the answer showed a secret and
    is not kept.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    operation = models.TextField(help_text="Method and path.")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = models.TextField(blank=True)
    is_secret = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["user", "operation", "key"], name="one_answer_for_a_key"
            )
        ]
        indexes = [models.Index(fields=["created_at"], name="kept_answers_by_age")]

    def __str__(self) -> str:
        return f"{self.operation}: {self.status}"
