"""Makes the database that each server gets a copy of: two users who are logged in, and what packages want to find."""

import os
import uuid
from datetime import timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django  # noqa: E402

django.setup()

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.contrib.sites.models import Site  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.utils.timezone import now  # noqa: E402

call_command("migrate", run_syncdb=True, verbosity=0)
Site.objects.update_or_create(pk=1, defaults={"domain": "example.com", "name": "example"})
for number, name in enumerate(("alice", "bob"), 1):
    user = get_user_model()(pk=uuid.UUID(int=number), username=name, email=f"{name}@example.com", is_superuser=True)
    user.set_unusable_password()
    user.save()
    logged_in = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    Session.objects.save(name * 4, logged_in, now() + timedelta(days=1))
