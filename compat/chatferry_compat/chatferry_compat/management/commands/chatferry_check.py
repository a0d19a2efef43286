"""`manage.py chatferry_check`: what would differ if Chatferry served this project's chat."""

import sys

from django.core.management.base import BaseCommand

from ... import checks, finding, settings_file
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
        parser.add_argument("--json", action="store_true", help="for machines")
        parser.add_argument("--width", type=int, default=120, help="columns of the table [120]")

    def handle(self, **options):
        found = finding.ordered(checks.run(settings_file.read(options)))
        if options["json"]:
            self.stdout.write(finding.as_json(found))
        else:
            self.stdout.write(f"{finding.as_table(found, options['width'])}\n\n{CLOSING}")
        if finding.would_differ(found):
            sys.exit(1)
