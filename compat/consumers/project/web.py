"""Views of the kinds that people write, and ASGI applications that answer requests by themselves."""

import asyncio
import hashlib
import json

from channels.generic.http import AsyncHttpConsumer
from django.http import FileResponse, HttpResponse, HttpResponseNotModified, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from .consumers import note


def hello(request):
    response = HttpResponse(f"안녕 {request.GET.get('name', '')}")
    response["X-A"] = "1"
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


def bare(request, status):
    return HttpResponseNotModified() if status == 304 else HttpResponse(status=status)


@csrf_exempt
def received(request):
    files = {name: [file.size, hashlib.sha256(file.read()).hexdigest()] for name, file in request.FILES.items()}
    body = None if files else hashlib.sha256(request.body).hexdigest()
    names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_X_B")
    meta = {name: request.META.get(name) for name in names}
    url = request.build_absolute_uri()
    return JsonResponse({"post": dict(request.POST), "files": files, "body": body, "meta": meta, "url": url})


def stream(request, kind):
    def parts():
        for number in range(5):
            yield f"{number}" * 1000

    async def async_parts():
        for number in range(5):
            yield f"{number}" * 1000
            await asyncio.sleep(0)

    return StreamingHttpResponse(async_parts() if kind == "async" else parts())


def large(request):
    return HttpResponse(b"0123456789abcdef" * (3 << 16))


def file(request):
    return FileResponse(open(__file__, "rb"))


def broken(request):
    raise RuntimeError("of a test")


urlpatterns = [
    path("web/hello/", hello),
    path("web/bare/<int:status>/", bare),
    path("web/received/", received),
    path("web/stream/<str:kind>/", stream),
    path("web/large/", large),
    path("web/file/", file),
    path("web/broken/", broken),
]

TEXT = [(b"Content-Type", b"text/plain")]


async def start(send, status=200, headers=TEXT):
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def body(send, data, more=False):
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def scope_of(scope, receive, send):
    plain = ("type", "http_version", "method", "scheme", "path", "root_path", "asgi")
    answer = {
        "kinds": {key: type(value).__name__ for key, value in sorted(scope.items())},
        "plain": {key: str(scope.get(key)) for key in plain},
        "bytes": [str(scope["raw_path"]), str(scope["query_string"])],
        "headers": [[str(name), str(value)] for name, value in scope["headers"] if name != b"host"],
        "kind of header": [type(it).__name__ for it in (scope["headers"][0], *scope["headers"][0])],
        "client": [scope["client"][0], type(scope["client"][1]).__name__],
        "server": [scope["server"][0], type(scope["server"][1]).__name__],
    }
    await start(send)
    await body(send, json.dumps(answer).encode())


async def messages_of(scope, receive, send):
    """What is in the request, and what comes after it once it is answered."""
    seen, size = [], 0
    while True:
        message = await receive()
        size += len(message["body"])
        if not message["more_body"]:
            break
    seen.append([message["type"], size])
    await start(send)
    await body(send, json.dumps(seen).encode())
    note("after", (await receive())["type"])


async def early(scope, receive, send):
    """Answers before it has read anything."""
    await start(send)
    await body(send, b"early")


async def poll(scope, receive, send):
    """Waits for what the client does."""
    message = await receive()
    note("poll", [message["type"], message["more_body"]])
    await start(send)
    await body(send, b"first", more=True)
    note("poll", (await receive())["type"])
    await body(send, b"of nobody")
    note("poll", "sent")


async def raises(scope, receive, send):
    raise RuntimeError("of a test")


async def wrong(scope, receive, send):
    """What is refused raises in the application."""
    seen = []
    for message in (
        {"type": "http.response.body", "body": b"too soon"},
        {"type": "http.response.strange"},
    ):
        try:
            await send(message)
        except ValueError as error:
            seen.append(str(error))
    await start(send)
    try:
        await start(send)
    except ValueError as error:
        seen.append(str(error))
    await body(send, json.dumps(seen).encode())
    await body(send, b"past the end")


async def text_headers(scope, receive, send):
    await start(send, headers=[("x-a", "1")])


class Answering(AsyncHttpConsumer):
    """Channels' own consumer of requests."""

    async def handle(self, data):
        await self.send_response(202, data[::-1], headers=[(b"Content-Type", b"text/plain")])


RAW = {
    "scope": scope_of,
    "messages": messages_of,
    "early": early,
    "poll": poll,
    "raises": raises,
    "wrong": wrong,
    "text-headers": text_headers,
    "consumer": Answering.as_asgi(),
}


def with_raw(django):
    """Django, but for the paths of the applications above."""

    async def application(scope, receive, send):
        parts = scope["path"].split("/")
        inner = RAW.get(parts[2]) if parts[1:2] == ["raw"] else None
        await (inner or django)(scope, receive, send)

    return application
