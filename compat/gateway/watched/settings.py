"""The reference's settings, watched."""

from service.settings import *  # noqa: F403
from service.settings import MIDDLEWARE

MIDDLEWARE = [*MIDDLEWARE, "watched.ViewWatch"]
# What most projects behind a proxy have.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
