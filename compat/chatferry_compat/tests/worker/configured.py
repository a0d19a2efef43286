"""Django for the tests of this directory: users and sessions in a file of SQLite."""

import atexit
import sys
import tempfile

from support import PACKAGE

sys.path.insert(0, str(PACKAGE))

import django
from django.conf import settings

if not settings.configured:
    directory = tempfile.TemporaryDirectory(prefix="chatferry-worker-")
    atexit.register(directory.cleanup)
    settings.configure(
        SECRET_KEY="of a test",
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{directory.name}/django.sqlite3"}},
    )
    django.setup()
