"""What Django's models cannot say: the venue's one sequence of tickets, and room for updates in
place (HOT), so that prices, balances and levels never touch an index."""

from django.db import migrations

UP = """
CREATE SEQUENCE paper_ticket;
ALTER TABLE paper_account SET (fillfactor = 70);
ALTER TABLE paper_quote SET (fillfactor = 50);
ALTER TABLE paper_position SET (fillfactor = 80);
"""
DOWN = """
DROP SEQUENCE paper_ticket;
ALTER TABLE paper_account RESET (fillfactor);
ALTER TABLE paper_quote RESET (fillfactor);
ALTER TABLE paper_position RESET (fillfactor);
"""


class Migration(migrations.Migration):
    dependencies = [("paper", "0001_initial")]
    operations = [migrations.RunSQL(UP, DOWN)]
