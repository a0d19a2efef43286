"""djust: a view whose page is kept up to date over a socket."""

from djust import LiveView
from djust.decorators import event_handler


class Counter(LiveView):
    template = """<div dj-root><p id="count">{{ count }}</p><p id="who">{{ who }}</p></div>"""

    def mount(self, request, **kwargs):
        self.count = 0
        self.who = request.user.get_username() or "nobody"

    @event_handler()
    def add(self, by: int = 1, **kwargs):
        self.count += by
