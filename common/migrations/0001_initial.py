"""The audit trail, kept answers, archive files, versions of the settings, figures of calls.

Generated from the models; what they do not say is in _database.py.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import common.db.functions
import common.fields
from common.migrations import _database


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('users', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='TrailLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.BigIntegerField(help_text='Without gaps, by commit.', null=True, unique=True)),
                ('at', models.DateTimeField()),
                ('operation', common.fields.ChoiceField(max_length=6)),
                ('relation', models.CharField(max_length=63)),
                ('row_id', models.TextField()),
                ('before', models.JSONField(help_text='Changed columns, or the removed row.', null=True)),
                ('after', models.JSONField(help_text='Changed columns, or the new row.', null=True)),
                ('user_id', models.BigIntegerField(null=True)),
                ('address', models.TextField(blank=True, default='', help_text="The caller's network address.")),
                ('origin', models.TextField(help_text='API, portal, console, alert, command, task or database.')),
                ('context', models.JSONField(default=dict)),
                ('login', models.TextField(help_text='The database login, and the role that it worked as.')),
                ('hash', models.CharField(max_length=64, null=True)),
            ],
            options={
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['relation', 'row_id'], name='trail_of_a_row'), models.Index(fields=['user_id', '-id'], name='trail_of_a_user'), models.Index(condition=models.Q(('number__isnull', True)), fields=['id'], name='trail_unnumbered')],
            },
        ),
        migrations.CreateModel(
            name='TrailHead',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('lines', models.BigIntegerField()),
                ('hash', models.CharField(blank=True, max_length=64)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='TrailCheckpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('number', models.BigIntegerField()),
                ('hash', models.CharField(max_length=64)),
                ('signature', models.TextField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='KeptAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('operation', models.TextField(help_text='Method and path.')),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(max_length=64)),
                ('status', models.PositiveSmallIntegerField()),
                ('body', models.TextField(blank=True)),
                ('is_secret', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['created_at'], name='kept_answers_by_age')],
                'constraints': [models.UniqueConstraint(fields=('user', 'operation', 'key'), name='one_answer_for_a_key')],
            },
        ),
        migrations.CreateModel(
            name='ArchiveFile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=30)),
                ('path', models.CharField(max_length=200, unique=True)),
                ('sha256', models.CharField(max_length=64)),
                ('size', models.BigIntegerField(help_text='Bytes.')),
                ('host', models.CharField(help_text='Of the machine that wrote it.', max_length=100)),
                ('rows', models.IntegerField()),
                ('first_id', models.BigIntegerField()),
                ('last_id', models.BigIntegerField()),
                ('first_at', models.DateTimeField()),
                ('last_at', models.DateTimeField()),
                ('written_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
            ],
            options={
                'verbose_name': 'archived file',
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['kind', 'first_id'], name='archive_of_kind')],
                'constraints': [models.CheckConstraint(condition=models.Q(('first_at__lte', models.F('last_at')), ('first_id__lte', models.F('last_id')), ('rows__gt', 0)), name='archive_file_has_rows')],
            },
        ),
        migrations.CreateModel(
            name='SettingsVersion',
            fields=[
                ('id', models.PositiveIntegerField(primary_key=True, serialize=False)),
                ('document', models.JSONField()),
                ('made_at', models.DateTimeField(db_default=common.db.functions.ClockTimestamp())),
                ('user_id', models.BigIntegerField(null=True)),
                ('username', models.CharField(blank=True, max_length=150)),
                ('origin', common.fields.ChoiceField(max_length=8)),
                ('why', models.CharField(max_length=500)),
                ('restored', models.PositiveIntegerField(help_text='The version that it repeats.', null=True)),
                ('source_digest', models.CharField(blank=True, max_length=64)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='CallFigure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=12)),
                ('name', models.CharField(max_length=200)),
                ('operation', models.CharField(blank=True, max_length=40)),
                ('outcome', models.CharField(max_length=12)),
                ('seconds', models.FloatField()),
                ('counts', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('kind', 'name', 'operation', 'outcome'), name='one_call_figure')],
            },
        ),
        *_database.OPERATIONS,
    ]
