"""manage.py chatferry_worker: runs the project's consumers for Chatferry, which holds the sockets."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Runs the ASGI application for sockets that Chatferry holds. Chatferry starts it, or it joins at --socket."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("application", nargs="?", help="as mysite.asgi:application; else ASGI_APPLICATION")
        from chatferry_worker import place

        place.add_arguments(parser)

    def handle(self, *args, **options):
        from chatferry_worker import place, worker

        application = options["application"] or getattr(settings, "ASGI_APPLICATION", None)
        if not application:
            raise CommandError("name the ASGI application, or set ASGI_APPLICATION")
        worker.main(application, place.chosen(options["socket"], options["connect"], options["secret_file"]))
