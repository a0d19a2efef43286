"""The section `auth.django_session`: the places of sessions and users."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import router
from django.utils.module_loading import import_string

from ..finding import BREAKS, Finding
from ..sockets import as_sent
from ..toml import Entry

SECTION = "auth.django_session"
ENGINES = {
    "django.contrib.sessions.backends.db": "database",
    "django.contrib.sessions.backends.cached_db": "database",
    "django.contrib.sessions.backends.signed_cookies": "signed_cookies",
}
SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
CSRF = {"CSRF_COOKIE_NAME": "csrftoken", "CSRF_HEADER_NAME": "HTTP_X_CSRFTOKEN", "CSRF_USE_SESSIONS": False}


def entries(attribute, alias):
    """Returns (entries, reasons why Chatferry cannot read the sessions). `alias` is the chat's database."""
    user = get_user_model()
    reasons = [*_unread_sessions(alias, user), *_own_rules(user)]
    held, missing = columns(user, attribute)
    reasons += missing
    engine = ENGINES.get(settings.SESSION_ENGINE)
    values = {"engine": engine, "cookie": settings.SESSION_COOKIE_NAME}
    if engine == "signed_cookies":
        values["cookie_age_s"] = settings.SESSION_COOKIE_AGE
    values |= {"users_table": user._meta.db_table.strip('"'), **held}
    return [Entry(f"{SECTION}.{name}", value) for name, value in values.items()] + [_trusted_origins()], reasons


def _unread_sessions(alias, user):
    if settings.SESSION_ENGINE not in ENGINES:
        yield f"sessions are kept by {settings.SESSION_ENGINE}, which Chatferry cannot read (cached_db it can)"
    elif settings.SESSION_ENGINE.endswith("db"):
        from django.contrib.sessions.models import Session

        if router.db_for_read(Session) != alias:
            yield "sessions are in another database than the chat"
    if settings.SESSION_SERIALIZER != SERIALIZER:
        yield f"sessions are written by {settings.SESSION_SERIALIZER}, and Chatferry reads JSON"
    if router.db_for_read(user) != alias:
        yield "users are in another database than the chat"


def _own_rules(user):
    """Yields code that may end a session, and that Chatferry does not run."""
    from django.contrib.auth.backends import ModelBackend
    from django.contrib.auth.base_user import AbstractBaseUser

    for name in settings.AUTHENTICATION_BACKENDS:
        try:
            backend = import_string(name)
        except ImportError:
            yield f"the authentication backend {name} cannot be imported"
            continue
        for method in ("get_user", "user_can_authenticate"):
            if getattr(backend, method, None) is not getattr(ModelBackend, method):
                yield f"{name}.{method}() is not Django's own, and Chatferry does not ask it"
    if getattr(user, "get_session_auth_hash", None) is not AbstractBaseUser.get_session_auth_hash:
        yield f"{user.__name__}.get_session_auth_hash() is not Django's own"


def columns(user, attribute):
    """Returns (columns of the users' table, attributes without one)."""
    found = {"id_column": user._meta.pk.column}
    missing = []
    wanted = {"password_column": "password", "active_column": "is_active", "user_column": attribute}
    for key, name in wanted.items():
        try:
            found[key] = (user._meta.pk if name == "pk" else user._meta.get_field(name)).column
        except FieldDoesNotExist:
            # Django's base class has `is_active = True`: then all users are active.
            if key == "active_column" and getattr(user, name, None) is True:
                found[key] = ""
            else:
                missing.append(f"{user.__name__}.{name} is no column")
    return found, missing


def _trusted_origins():
    entry = Entry("django.csrf_trusted_origins", [])
    for origin in settings.CSRF_TRUSTED_ORIGINS:
        entry.value.append(as_sent(origin.replace("://*.", "://.")))
    for name, wanted in CSRF.items():
        if getattr(settings, name) != wanted:
            text = f"{name} = {getattr(settings, name)!r}; Chatferry asks for Django's default, {wanted!r}"
            entry.findings.append(Finding(BREAKS, "access", name, text, "Set it so in Django first."))
    return entry
