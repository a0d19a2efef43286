"""The section `auth.django_token`: the tables of `rest_framework.authtoken` and of the users."""

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import router

from ..toml import Entry
from . import places, sessions

SECTION = "auth.django_token"


def entries(attribute, doors, alias):
    """Returns (entries, reasons why Chatferry cannot read the tokens). `alias` is the chat's database."""
    if not apps.is_installed("rest_framework.authtoken"):
        return [], ["rest_framework.authtoken is not installed"]
    from rest_framework.authtoken.models import Token

    readers = [reader for door in doors for reader in door.readers if isinstance(reader, type)]
    modules = [reader for door in doors for reader in door.readers if not isinstance(reader, type)]
    keyed = [cls for cls in readers if hasattr(cls, "keyword")]
    models = {cls.model for cls in keyed if cls.model not in (None, Token)}
    reasons = [f"tokens are {model.__name__}, with rules of its own" for model in models]
    columns, missing = sessions.columns(get_user_model(), attribute)
    if router.db_for_read(Token) != alias:
        reasons.append("tokens are in another database than the chat")
    users = {"users_table": get_user_model()._meta.db_table.strip('"'), **columns}
    found = [
        *places.words(sorted({cls.keyword for cls in keyed}), ["Token"]),
        *places.protocols(modules),
        Entry(f"{SECTION}.table", Token._meta.db_table.strip('"')),
        *places.query(SECTION, modules, None),
        *(Entry(f"{sessions.SECTION}.{name}", value) for name, value in users.items()),
    ]
    return found, reasons + missing
