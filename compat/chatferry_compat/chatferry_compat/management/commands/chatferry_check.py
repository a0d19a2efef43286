"""`manage.py chatferry_check`: the verdict on this chat, and what would differ if Chatferry served it."""

import sys

from django.core.management.base import BaseCommand

from ... import checks, finding, settings_file, verdict
from ...chat_models import NoChat
from ...options import add_arguments

CLOSING = (
    "What views and consumers do inside is code, which nothing but a run can compare: compat/kit plays the same steps "
    "on both and compares the answers."
)


class Command(BaseCommand):
    help = "Lists what would differ if Chatferry served this chat. Exit code 0: nothing. Reads no database."
    requires_system_checks = []

    def add_arguments(self, parser):
        add_arguments(parser)
        parser.add_argument("--all", action="store_true", help="every row, also where this is another chat")
        parser.add_argument("--json", action="store_true", help="for machines")
        parser.add_argument("--width", type=int, default=120, help="columns of the table [120]")

    def handle(self, **options):
        found, judged = _judge(options)
        if options["json"]:
            self.stdout.write(finding.as_json(found, judged.as_dict()))
        else:
            closing = f"{CLOSING}\n\n" if judged.verdict == verdict.NATIVE else ""
            self.stdout.write(f"{finding.as_table(found, options['width'])}\n\n{closing}{judged.as_text()}")
        if finding.would_differ(found):
            sys.exit(1)


def _judge(options):
    """Returns (findings, verdict). A project without the chat's models gets a verdict too."""
    try:
        project = settings_file.read(options)
    except NoChat as error:
        reason = str(error).partition(":")[0]
        judged = verdict.without(reason, settings_file.all_sockets()[0])
        return [verdict.other_chat(judged)], judged
    every = finding.ordered(checks.run(project))
    judged, gathered = verdict.of(project, every)
    return (every if options["all"] else gathered), judged
