"""Which of an app's models are the chat's: by their names, else by the columns they share with Chatferry's tables."""

from dataclasses import dataclass

from django.apps import apps
from django.core.management.base import CommandError

from . import served


class NoChat(CommandError):
    """An app without the three tables of the chat that Chatferry serves."""


@dataclass(frozen=True)
class ChatModels:
    conversation: type
    message: type
    receipt: type

    def pairs(self):
        """Each with the table that Chatferry expects."""
        return (
            (self.conversation, served.CONVERSATION),
            (self.message, served.MESSAGE),
            (self.receipt, served.RECEIPT),
        )


def find(app_label, conversation=None, message=None, receipt=None):
    """The three models of an app; a name (`Room`, or `other.Room`) overrules the search."""
    try:
        models = list(apps.get_app_config(app_label).get_models())
    except LookupError as error:
        raise CommandError(f"{error} Name the chat's app with --app.", returncode=2) from error
    wanted = ((conversation, served.CONVERSATION), (message, served.MESSAGE), (receipt, served.RECEIPT))
    return ChatModels(*(_find(app_label, models, name, table) for name, table in wanted))


def columns(model):
    """Column name to field."""
    return {field.column: field for field in model._meta.concrete_fields}


def _find(app_label, models, name, table):
    if name:
        try:
            return apps.get_model(name) if "." in name else apps.get_model(app_label, name)
        except (LookupError, ValueError) as error:
            raise CommandError(str(error), returncode=2) from error
    for model in models:
        if model.__name__ == table.model:
            return model
    best = max(models, key=lambda model: _likeness(model, table), default=None)
    if best is None or _likeness(best, table) < 0.5:
        text = f"no model of {app_label!r} looks like {table.model}"
        advice = f"name it with --{table.model.lower()}-model, or the app with --app; chatferry_check tells if it fits"
        raise NoChat(f"{text}: {advice}.", returncode=2)
    return best


def _likeness(model, table):
    """The share of our columns that the model has."""
    names = {column.name for column in table.columns} - {"id"}
    return len(names & columns(model).keys()) / len(names)
