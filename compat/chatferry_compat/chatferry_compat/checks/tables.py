"""Models against the tables that Chatferry reads and writes."""

import inspect

from django.conf import settings
from django.db import models, router
from django.db.models import signals

from ..chat_models import columns
from ..finding import BREAKS, DIFFERS, LOOK, NOTE, Finding

AREA = "tables"
#: Fields that store the same as another one.
SAME_COLUMN = {
    "OneToOneField": "ForeignKey",
    "EmailField": "CharField",
    "SlugField": "CharField",
    "NullBooleanField": "BooleanField",
}
#: Collations that compare texts byte by byte; other `_bin` ones pass over spaces at the end.
EXACT = {"utf8mb4_nopad_bin", "utf8mb4_0900_bin", "BINARY", "C", "POSIX"}
SIGNALS = ("pre_init", "post_init", "pre_save", "post_save", "pre_delete", "post_delete")


def check(project):
    for model, table in project.models.pairs():
        live = columns(model)
        for column in table.columns:
            if column.name in live:
                yield from _column(model, column, live[column.name])
            else:
                text = f"{model.__name__} has no column {column.name}; only tables can have other names"
                yield _find(
                    BREAKS, f"{model.__name__}.{column.name}", text, "Rename the column in Django first (db_column)."
                )
        known = {column.name for column in table.columns}
        for name, field in live.items():
            if name not in known:
                yield _extra(model, name, field)
        yield from _keys(model, table)
        yield from _collations(model, table)
        yield from _managers(model)
        yield from _code(model)


def _find(severity, subject, text, advice):
    return Finding(severity, AREA, subject, text, advice)


def _column(model, column, field):
    subject = f"{model.__name__}.{column.name}"
    kind = field.get_internal_type()
    kind = SAME_COLUMN.get(kind, kind)
    if kind != column.field:
        text = f"{kind} instead of {column.field}"
        yield _find(BREAKS, subject, text, "Chatferry cannot read this column: keep this table with Django.")
        return
    if column.max_length and field.max_length != column.max_length:
        severity = BREAKS if (field.max_length or 0) < column.max_length else DIFFERS
        text = f"max_length {field.max_length} instead of {column.max_length}, which is Chatferry's limit"
        advice = "Make it the same in Django, or expect other values to be refused."
        yield _find(severity, subject, text, advice)
    choices = tuple(value for value, _ in field.flatchoices) if field.choices else ()
    if choices != column.choices:
        text = f"choices {list(choices)} instead of {list(column.choices)}"
        yield _find(DIFFERS, subject, text, "Chatferry validates against its own: expect others to be refused.")
    if column.default is not None and field.default != column.default:
        text = f"default {field.default!r} instead of {column.default!r}"
        yield _find(DIFFERS, subject, text, "Chatferry writes its own default.")
    if field.null:
        text = "may be NULL in Django"
        yield _find(LOOK, subject, text, "Chatferry expects a value: look for rows without one.")


def _extra(model, name, field):
    """Chatferry leaves unknown columns out of its INSERTs."""
    in_database = getattr(field, "db_default", models.NOT_PROVIDED) is not models.NOT_PROVIDED
    subject = f"{model.__name__}.{name}"
    in_python = "; its default is Python's, which the database does not know" if field.has_default() else ""
    if in_database or field.null:
        text = f"not written by Chatferry{'' if in_database else in_python}"
        return _find(LOOK, subject, text, "See that rows without it are fine for Django.")
    text = f"must have a value, and Chatferry writes none: its INSERTs fail{in_python}"
    return _find(BREAKS, subject, text, "Allow NULL or give it a db_default.")


def _keys(model, table):
    live = columns(model)
    name_of = {field.name: column for column, field in live.items()}
    meta = model._meta
    unique = {frozenset(name_of.get(name, name) for name in names) for names in meta.unique_together}
    for constraint in meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and constraint.fields and constraint.condition is None:
            unique.add(frozenset(name_of.get(name, name) for name in constraint.fields))
    if table.unique and frozenset(table.unique) not in unique:
        text = f"no unique key of {', '.join(table.unique)}"
        yield _find(BREAKS, model.__name__, text, "Chatferry needs it to write each row once: add it in Django.")
    indexed = [tuple(name_of.get(n.lstrip("-"), n) for n in index.fields) for index in meta.indexes]
    indexed += [(column,) for column, field in live.items() if field.db_index or field.unique]
    indexed += [tuple(name_of.get(n, n) for n in names) for names in meta.unique_together]
    for wanted in table.indexes:
        if set(wanted) <= live.keys() and not any(index[: len(wanted)] == wanted for index in indexed):
            text = f"no index begins with {', '.join(wanted)}"
            yield _find(NOTE, model.__name__, text, "Chatferry is slower without; nothing else changes.")


def _collations(model, table):
    """Which user ids are the same is the collation's affair in Django, and a policy's in Chatferry."""
    engine = settings.DATABASES[router.db_for_write(model)]["ENGINE"]
    live = columns(model)
    for column in table.columns:
        if column.name not in table.unique or column.field != "CharField" or column.name not in live:
            continue
        collation = getattr(live[column.name], "db_collation", None)
        if collation in EXACT or (collation is None and "mysql" not in engine):
            continue
        text = (
            f"compared by {collation or 'the default collation of MySQL'}, which may take two ids for one; with "
            "auth.policy = participants Chatferry compares bytes, and refuses an id where another spelling has the row"
        )
        advice = "With a policy: give it db_collation utf8mb4_nopad_bin (MariaDB) or utf8mb4_0900_bin (MySQL)."
        yield _find(NOTE, f"{model.__name__}.{column.name}", text, advice)


def _managers(model):
    """Yields managers with code of their own: Chatferry shows the rows that they leave out."""
    for manager in model._meta.managers:
        subject = f"{model.__name__}.{manager.name}"
        if type(manager).get_queryset is not models.Manager.get_queryset:
            text = f"{type(manager).__name__} chooses rows by code of its own; Chatferry reads all of the table"
            yield _find(BREAKS, subject, text, "Rows that must stay hidden need is_deleted or is_active.")
        elif names := sorted({"create", "bulk_create", "update_or_create"} & _own_names(type(manager))):
            text = f"its {', '.join(names)}() is the project's own, and not run by Chatferry"
            yield _find(LOOK, subject, text, "Move what it does to readers, or into the database.")


def _own_names(cls):
    """Returns the names that a manager defines by itself; those of Django are made by `from_queryset`."""
    own = [base for base in cls.__mro__ if not base.__module__.startswith(("django.", "builtins"))]
    return {name for base in own for name in vars(base)}


def _code(model):
    """Python that runs when Django writes a row, and does not when Chatferry does."""
    for name in ("save", "delete", "full_clean"):
        if getattr(model, name) is not getattr(models.Model, name):
            text = "the model's own code does not run for rows that Chatferry writes"
            yield _find(LOOK, f"{model.__name__}.{name}()", text, "Move what it does to readers, or into the database.")
    for name in SIGNALS:
        for receiver in _receivers(getattr(signals, name), model):
            text = "does not run for rows that Chatferry writes"
            yield _find(LOOK, f"{name}: {receiver}", text, "Let it read the tables, or the channel layer, instead.")


def _receivers(signal, model):
    """Names of what listens to a signal of this model. Django's own and its apps' generic ones are left out."""
    live = signal._live_receivers(model)
    # Since Django 5.0 this is a pair: synchronous and asynchronous ones.
    pairs = live if isinstance(live, tuple) else (live,)
    for receiver in (r for group in pairs for r in group):
        inner = inspect.unwrap(getattr(receiver, "__func__", receiver))
        module = getattr(inner, "__module__", "") or ""
        if not module.startswith("django."):
            yield f"{module}.{getattr(inner, '__qualname__', inner)}"
