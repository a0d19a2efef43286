"""The reference with a mark for each request that reaches a view or a consumer of the chat.

`WATCH_FILE` names the file that gets one line for each: kind, path and the request's `X-Shape` header.
"""

import os


def mark(kind, path, shape):
    """Appends a line in one write, so that lines of several threads and processes stay whole."""
    line = f"{kind}\t{shape}\t{path!r}\n".encode("utf-8", "backslashreplace")
    descriptor = os.open(os.environ["WATCH_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


class ViewWatch:
    """Middleware that marks requests before their view runs."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, view, _args, _kwargs):
        kind = "view" if view.__module__.startswith("chat.") else "other"
        scheme = "secure" if request.is_secure() else "plain"
        mark(kind, f"{request.path} {scheme}", request.headers.get("X-Shape", "-"))
