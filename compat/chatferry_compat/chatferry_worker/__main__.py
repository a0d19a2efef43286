"""python -m chatferry_worker mysite.asgi:application"""

import argparse
import sys

from . import place, worker

parser = argparse.ArgumentParser(prog="chatferry_worker", description="Runs an ASGI application for Chatferry.")
parser.add_argument("application", help="as mysite.asgi:application")
place.add_arguments(parser)
options = parser.parse_args()
# As `manage.py` and Daphne: the project is in the working directory.
sys.path.insert(0, "")
worker.main(options.application, place.chosen(options.socket, options.connect, options.secret_file))
