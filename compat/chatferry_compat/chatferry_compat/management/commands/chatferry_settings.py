"""`manage.py chatferry_settings > chatferry.toml`: this project's settings for Chatferry."""

import django
from django.core.management.base import BaseCommand

from ... import settings_file, toml, verdict
from ...finding import NOTE
from ...options import add_arguments

HEAD = (
    "Made by `manage.py chatferry_settings` with Django {version}. What could not be mapped is marked TO DO.",
    "Check it with `chatferry check --config FILE`; all other options: `chatferry config --example`.",
)


class Command(BaseCommand):
    help = "Prints a chatferry.toml from the settings in force. Reads no database."
    requires_system_checks = []

    def add_arguments(self, parser):
        add_arguments(parser)
        kinds = parser.add_mutually_exclusive_group()
        kinds.add_argument("--show-secrets", action="store_true", help="write passwords and keys into the file")
        kinds.add_argument("--env", action="store_true", help="print the secrets alone, as environment variables")

    def handle(self, **options):
        project = settings_file.read(options)
        entries = project.entries
        if options["env"]:
            self.stdout.write(toml.environment(entries), ending="")
            return
        head = [line for text in HEAD for line in toml.comment(text.format(version=django.get_version()))]
        self.stdout.write("\n".join(head) + "\n\n" + toml.document(entries, options["show_secrets"]), ending="")
        if reason := verdict.not_native(project):
            self.stderr.write(f"This is another chat than Chatferry's: {reason}. See chatferry_check.")
        marks = sum(finding.severity != NOTE for entry in entries for finding in entry.findings)
        if marks:
            self.stderr.write(f"{marks} marked TO DO: see to them before you use the file.")
