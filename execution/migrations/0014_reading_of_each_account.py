"""Each connection has its reading from when it is made, however it is made, so that no round of
polling has to look for those that lack one."""

from django.db import migrations

FORWARDS = """
CREATE FUNCTION execution_reading_of_connection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO execution_accountreading (connection_id) SELECT id FROM made ORDER BY id
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER reading_of_connection AFTER INSERT ON connections_executionconnection
REFERENCING NEW TABLE AS made FOR EACH STATEMENT
EXECUTE FUNCTION execution_reading_of_connection();
INSERT INTO execution_accountreading (connection_id)
SELECT id FROM connections_executionconnection WHERE archived_at IS NULL ORDER BY id
ON CONFLICT DO NOTHING;
"""
BACKWARDS = """
DROP TRIGGER reading_of_connection ON connections_executionconnection;
DROP FUNCTION execution_reading_of_connection();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0013_what_is_dropped_is_appended"),
        ("connections", "0007_hosts_that_are_away"),
    ]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
