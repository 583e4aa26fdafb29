"""An owner's own approval of a private feed is told apart from an operator's."""

from django.db import migrations, models

# Private feeds of tenants approved themselves; a public one's stock may be from before it was.
OLD_ROWS = """
UPDATE signals_feed f SET approved_by_owner = true FROM users_user owner
WHERE owner.id = f.owner_id AND NOT owner.is_staff AND f.is_approved AND NOT f.is_public;
UPDATE signals_signal s SET approval = 'PENDING', approved_by_id = NULL, approved_at = NULL
FROM signals_feed f
WHERE f.id = s.feed_id AND s.approval = 'APPROVED' AND s.published_at IS NULL
  AND s.approved_by_id IS NULL AND (NOT f.is_approved OR f.archived_at IS NOT NULL)
"""

class Migration(migrations.Migration):
    dependencies = [("signals", "0006_adopted"), ("users", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name="feed",
            name="approved_by_owner",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="The approval is the owner's own: it covers the owner's accounts only.",
            ),
        ),
        migrations.AddField(
            model_name="signal",
            name="owner_only",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="When published it was approved by its feed's owner only: for that"
                " owner's accounts.",
            ),
        ),
        migrations.RunSQL(OLD_ROWS, migrations.RunSQL.noop),
    ]
