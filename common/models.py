"""The audit trail, which only the database's functions write; answers; archive; settings."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from common.db.functions import ClockTimestamp
from common.fields import ChoiceField


class TrailLine(models.Model):
    """One change of one row of a tracked table. Ids are plain: a line outlives its row."""

    class Operation(models.TextChoices):
        INSERT = "insert", "Created"
        UPDATE = "update", "Changed"
        DELETE = "delete", "Removed"

    number = models.BigIntegerField(null=True, unique=True, help_text="Without gaps, by commit.")
    at = models.DateTimeField()
    operation = ChoiceField(max_length=6, choices=Operation)
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
    """What a POST request with an Idempotency-Key was answered: common/web/repeatable.py.

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


class ArchiveFile(models.Model):
    """One Parquet file of the archive: the manifest. The application only adds to it.

    It is inserted in the transaction that deletes the file's rows, so a file without it was left by
    a process that died. path: from the archive's folder. Times: of the rows, machine time.
    """

    kind = models.CharField(max_length=30)
    path = models.CharField(max_length=200, unique=True)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField(help_text="Bytes.")
    host = models.CharField(max_length=100, help_text="Of the machine that wrote it.")
    rows = models.IntegerField()
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    written_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        default_permissions = ("view",)
        verbose_name = "archived file"
        constraints = [
            models.CheckConstraint(
                condition=Q(rows__gt=0, first_id__lte=F("last_id"), first_at__lte=F("last_at")),
                name="archive_file_has_rows",
            )
        ]
        indexes = [models.Index(fields=["kind", "first_id"], name="archive_of_kind")]

    def __str__(self) -> str:
        return self.path


class SettingsVersion(models.Model):
    """One version of the operational settings: the whole document, who stored it, when and why.

    Rows are only added. id: the version's number, without gaps. The user is plain: a version
    outlives its user. source_digest: of the central source's text, if it came from there.
    """

    class Origin(models.TextChoices):
        CONSOLE = "console", "Console"
        API = "api", "API"
        COMMAND = "command", "Command"
        CENTRAL = "central", "Central source"

    id = models.PositiveIntegerField(primary_key=True)
    document = models.JSONField()
    made_at = models.DateTimeField(db_default=ClockTimestamp())
    user_id = models.BigIntegerField(null=True)
    username = models.CharField(max_length=150, blank=True)
    origin = ChoiceField(max_length=8, choices=Origin)
    why = models.CharField(max_length=500)
    restored = models.PositiveIntegerField(null=True, help_text="The version that it repeats.")
    source_digest = models.CharField(max_length=64, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"version {self.pk}"


class CallFigure(models.Model):
    """How many calls of one kind took how long, of all processes: common/process/call_figures.py.

    counts: of the buckets of durations, the longest last.
    """

    kind = models.CharField(max_length=12)
    name = models.CharField(max_length=200)
    operation = models.CharField(max_length=40, blank=True)
    outcome = models.CharField(max_length=12)
    seconds = models.FloatField()
    counts = ArrayField(models.BigIntegerField())

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "name", "operation", "outcome"], name="one_call_figure"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.operation} {self.outcome}"
