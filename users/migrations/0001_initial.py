"""Users, their second factors and API keys, sessions, invitations, exports.

Generated from the models; what they do not say is in _database.py.
"""

import django.contrib.auth.models
import django.contrib.auth.validators
import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import common.fields
import common.permissions
from users.migrations import _database


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('contenttypes', '0002_remove_content_type_name'),
    ]

    operations = [
        *_database.BEFORE,
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                ('first_name', models.CharField(blank=True, max_length=150, verbose_name='first name')),
                ('last_name', models.CharField(blank=True, max_length=150, verbose_name='last name')),
                ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                ('email', models.EmailField(blank=True, max_length=254, verbose_name='email address')),
                ('email_confirmed_at', models.DateTimeField(blank=True, editable=False, help_text='When the user proved that they read the address. Another address is unproven.', null=True)),
                ('full_name', models.CharField(blank=True, db_default='', default='', help_text='As you write it.', max_length=255)),
                ('time_zone', models.CharField(default='UTC', help_text='For screens only.', max_length=64)),
                ('hides_first_steps', models.BooleanField(db_default=False, default=False, editable=False, help_text='The overview of the portal does not show the first steps.')),
                ('ran_preflight', models.BooleanField(db_default=False, default=False, editable=False, help_text='A preflight of one of their accounts was computed: one of the first steps.')),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'verbose_name': 'user',
                'verbose_name_plural': 'users',
                'permissions': [('read_everything', 'read everything'), ('publish_signals', 'publish signals'), ('approve_signals', 'approve signals'), ('manage_feeds', 'manage feeds'), ('trade', 'trade'), ('retry_orders', 'retry orders'), ('decide_differences', 'decide differences'), ('manage_connections', 'manage connections'), ('replace_credentials', 'replace credentials'), ('change_limits', 'change limits'), ('set_kill_switch', 'set kill switch'), ('release_kill_switch', 'release kill switch'), ('manage_price_sources', 'manage price sources'), ('share_price_sources', 'share price sources'), ('push_prices', 'push prices'), ('manage_maintenance', 'manage maintenance'), ('manage_paper_broker', 'manage paper broker'), ('manage_schedules', 'manage schedules'), ('change_settings', 'change settings'), ('manage_users', 'manage users'), ('manage_api_keys', 'manage api keys')],
                'constraints': [models.UniqueConstraint(django.db.models.functions.text.Lower('email'), condition=models.Q(('email_confirmed_at__isnull', False)), name='one_user_of_a_confirmed_address', violation_error_message='Another user has confirmed this e-mail address.')],
            },
            managers=[
                ('objects', django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name='SecondFactor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='second_factor', to=settings.AUTH_USER_MODEL)),
                ('sealed_secret', models.BinaryField()),
                ('last_step', models.BigIntegerField(help_text='The time step whose code was used last.')),
                ('enrolled_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='RecoveryCode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='recovery_codes', to=settings.AUTH_USER_MODEL)),
                ('code_hash', models.CharField(max_length=64)),
                ('used_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('user', 'code_hash'), name='one_recovery_code')],
            },
        ),
        migrations.CreateModel(
            name='TryCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.CharField(max_length=40)),
                ('digest', models.CharField(max_length=64)),
                ('tries', models.PositiveIntegerField()),
                ('ends_at', models.DateTimeField(db_index=True)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('scope', 'digest'), name='one_count_of_a_key')],
            },
        ),
        migrations.CreateModel(
            name='TrailStatus',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('broken_at', models.DateTimeField(null=True)),
                ('findings', models.TextField(blank=True, db_default='', default='')),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='one_trail_status')],
            },
        ),
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to=settings.AUTH_USER_MODEL)),
                ('name', models.CharField(max_length=100)),
                ('prefix', models.CharField(max_length=12, unique=True)),
                ('secret_hash', models.CharField(max_length=64)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=16), default=common.permissions.read_only_rights, size=None)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('made_with', models.ForeignKey(blank=True, editable=False, help_text='The API key that it was made with: it is revoked with that one.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='made_keys', to='users.apikey')),
            ],
            options={
                'ordering': ('-created_at',),
                'constraints': [models.CheckConstraint(condition=models.Q(('scopes__contained_by', ['read', 'trade', 'publish', 'operate', 'prices']), ('scopes__len__gt', 0)), name='a_key_has_known_scopes')],
            },
        ),
        migrations.CreateModel(
            name='ApiKeyNotice',
            fields=[
                ('key', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='end_notice', serialize=False, to='users.apikey')),
                ('stage', models.SmallIntegerField()),
                ('ends_at', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='ApiKeyNetwork',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='networks', to='users.apikey')),
                ('network', models.CharField(max_length=50)),
                ('first_used_at', models.DateTimeField(auto_now_add=True)),
                ('last_used_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('key', 'network'), name='one_network_of_a_key')],
            },
        ),
        migrations.CreateModel(
            name='LoginSession',
            fields=[
                ('session_key', models.CharField(max_length=40, primary_key=True, serialize=False, verbose_name='session key')),
                ('session_data', models.TextField(verbose_name='session data')),
                ('expire_date', models.DateTimeField(db_index=True, verbose_name='expire date')),
                ('user_id', models.BigIntegerField(db_index=True, null=True)),
            ],
            options={
                'verbose_name': 'session',
                'verbose_name_plural': 'sessions',
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('secret_hash', models.CharField(max_length=64, unique=True)),
                ('note', models.CharField(help_text='For whom it is, as operators will read it.', max_length=200)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('used_at', models.DateTimeField(blank=True, null=True)),
                ('used_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ('-created_at', '-id'),
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('used_at__isnull', True), ('used_by__isnull', True)), models.Q(('used_at__isnull', False), ('used_by__isnull', False)), _connector='OR'), name='a_used_invitation_has_a_user'), models.CheckConstraint(condition=models.Q(('used_at__isnull', True), ('revoked_at__isnull', True), _connector='OR'), name='a_revoked_invitation_is_not_used')],
            },
        ),
        migrations.CreateModel(
            name='AccountMail',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', common.fields.ChoiceField(max_length=20)),
                ('address', models.EmailField(max_length=254)),
                ('user_id', models.BigIntegerField(blank=True, null=True)),
                ('name', models.CharField(blank=True, db_default='', default='', max_length=150)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('due_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('tries', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('done_at', models.DateTimeField(blank=True, null=True)),
                ('outcome', models.CharField(blank=True, db_default='', default='', max_length=200)),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(condition=models.Q(('done_at__isnull', True)), fields=['due_at'], name='mail_due'), models.Index(condition=models.Q(('done_at__isnull', False)), fields=['done_at'], name='mail_done')],
            },
        ),
        migrations.CreateModel(
            name='DataExport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='data_exports', to=settings.AUTH_USER_MODEL)),
                ('state', common.fields.ChoiceField(default='waiting', max_length=8)),
                ('requested_at', models.DateTimeField(auto_now_add=True)),
                ('claimed_until', models.DateTimeField(null=True)),
                ('tries', models.PositiveSmallIntegerField(default=0)),
                ('tables_done', models.PositiveSmallIntegerField(default=0)),
                ('tables_total', models.PositiveSmallIntegerField(default=0)),
                ('rows_done', models.BigIntegerField(default=0)),
                ('size', models.BigIntegerField(default=0, help_text='Of the archive, in bytes.')),
                ('ready_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(db_index=True, null=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='DataExportPart',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('export', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='parts', to='users.dataexport')),
                ('number', models.PositiveIntegerField()),
                ('content', models.BinaryField()),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('export', 'number'), name='one_part_of_an_archive')],
            },
        ),
        *_database.OPERATIONS,
    ]
