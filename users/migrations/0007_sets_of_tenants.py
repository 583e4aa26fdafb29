"""What is of a tenant's keys and archives is asked of functions (ADR 0061).

my_keys, my_exports: "user is T" is the policy of both tables, word for word.
"""

from django.db import migrations

from common.row_security import TENANT, replace_condition, tenant_set

FUNCTIONS = (("my_keys", "users_apikey"), ("my_exports", "users_dataexport"))


class Migration(migrations.Migration):
    dependencies = [("users", "0006_ran_preflight")]
    operations = [
        *(
            tenant_set(
                f"fillcast_{name}",
                "SETOF bigint",
                f"SELECT own.id FROM public.{table} own WHERE own.user_id = {TENANT}",
            )
            for name, table in FUNCTIONS
        ),
        replace_condition(
            "users_apikeynetwork",
            "SELECT INSERT UPDATE DELETE",
            now="key_id IN (SELECT public.fillcast_my_keys())",
            was="key_id IN (SELECT mine.id FROM users_apikey mine)",
        ),
        replace_condition(
            "users_dataexportpart",
            "SELECT UPDATE DELETE",
            now="export_id IN (SELECT public.fillcast_my_exports())",
            was=f"export_id IN (SELECT id FROM users_dataexport WHERE user_id = {TENANT})",
        ),
    ]
