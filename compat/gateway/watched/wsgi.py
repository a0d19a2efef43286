"""The reference's WSGI application, watched. It has no sockets."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "watched.settings"

from django.core.wsgi import get_wsgi_application  # noqa: E402

application = get_wsgi_application()
