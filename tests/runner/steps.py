"""The steps in their order: what costs little and fails often comes first."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from subprocess import DEVNULL

import instructions
import libtest
import neighbours
import services
from provision import CLIENTS, REQUIREMENTS, cargo, cargo_tool, chromium, command, node, python, venv
from server import release_binary, running, serving
from shell import KEPT, ROOT, Failed, Skipped, run, run_reading, scratch, start, succeeds


@dataclass(frozen=True)
class Step:
    name: str
    what: str
    # Given the options; returns how many parts of it were skipped, if any.
    run: Callable
    quick: bool = False
    # Browsers, servers or processes take part, which a busy machine can make fail: with --again it has a second try.
    live: bool = False
    # What the second try runs, given the options and the Failed of the first; `run` if there is none.
    again: Callable | None = None


def fmt(_):
    run(cargo(), "fmt", "--check")


def clippy(_):
    run(cargo(), "clippy", "--locked", "--all-targets", "--", "-D", "warnings")


def doc(_):
    run(cargo(), "doc", "--locked", "--no-deps", "--document-private-items", RUSTDOCFLAGS="-D warnings")


def deny(_):
    run(cargo_tool("cargo-deny"), "--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources")


def advisories(_):
    tool = cargo_tool("cargo-deny")
    if not succeeds(tool, "--locked", "fetch", "db"):
        raise Skipped("no advisory database: it cannot be fetched from here")
    run(tool, "--locked", "check", "--hide-inclusion-graph", "--disable-fetch", "advisories")


def machete(_):
    run(cargo_tool("cargo-machete"), ROOT)


def test(options):
    return libtest.skipped(cargo_test(options))


def failed_tests(options, first):
    """Those tests once more that failed. Raises `first` again if something else failed too."""
    names = libtest.failed(first.output)
    if not names:
        raise first
    lines = cargo_test(options, "--", "--exact", *names)
    if (passed := libtest.passed(lines)) < len(set(names)):
        raise Failed(f"{len(set(names))} tests failed and only {passed} were run again", lines)
    return libtest.skipped(first.output)


def cargo_test(options, *arguments):
    """The lines that cargo printed."""
    found = {} if options.quick else neighbours.found()
    if options.long:
        found["CHATFERRY_TEST_LONG"] = "1"
    return run_reading(cargo(), "test", "--locked", "--no-fail-fast", *arguments, **found)


BUILD = ("build", "--locked", "--release", "--quiet")


def build(_):
    run(cargo(), *BUILD)


def build_ahead():
    """Begins `build` beside the steps before it, which leave a processor idle at times, as does its linking.

    Cargo lets `build` wait until this is done, and then tells what went wrong.
    """
    with contextlib.suppress(Failed):
        start([cargo(), *BUILD], stdout=DEVNULL, stderr=DEVNULL)


def kit(_):
    run(python(), "-m", "unittest", "discover", "--start-directory", "compat/kit", "--pattern", "test_*.py")


def django_app(_):
    build(None)
    tests = "compat/chatferry_compat/tests"
    run(python(), "-m", "unittest", "discover", "--start-directory", tests, CHATFERRY_BINARY=str(release_binary()))


def deploy(_):
    build(None)
    for name in ("nginx", "haproxy", "promtool", "redis-server"):
        command(name)
    tests = ("discover", "--start-directory", "compat/deploy")
    run(python(), "-m", "unittest", *tests, CHATFERRY_BINARY=str(release_binary()))


def move(_):
    build(None)
    for name in ("nginx", "haproxy", "redis-server", "mariadbd", "my_print_defaults"):
        command(name)
    node()
    run(python(), "compat/deploy/under_load.py", CHATFERRY_BINARY=str(release_binary()))


def compat(_):
    build(None)
    run(python(), "compat/kit/side_by_side.py", "--binary", release_binary())


def compat_databases(_):
    build(None)
    playing = (python(), "compat/kit/side_by_side.py", "--binary", release_binary())
    skipped = 0
    for serving_one in services.DATABASES:
        try:
            with serving_one() as url:
                print(f"on {serving_one.__name__}", flush=True)
                run(*playing, "--database-url", url)
        except Skipped as reason:
            print(f"skipped: {reason}", flush=True)
            skipped += 1
    return skipped


def openapi(_):
    build(None)
    home = ROOT / "tests" / "openapi"
    tool = venv("openapi", home / "requirements.txt").with_name("schemathesis")
    with serving() as address:
        # Here it leaves its notes, and waits for no slow answer for ever.
        checks = ("--config-file", home / "schemathesis.toml", "run", f"{address}/openapi.json", "--request-timeout", "20")
        run(tool, *checks, cwd=scratch(), timeout_s=600)


def prometheus(_):
    build(None)
    for name in ("prometheus", "promtool", "redis-server"):
        command(name)
    tests = ("discover", "--start-directory", "tests/prometheus")
    run(python(), "-m", "unittest", *tests, CHATFERRY_BINARY=str(release_binary()))


def picture(options):
    build(None)
    for name in ("prometheus", "redis-server"):
        command(name)
    drawing = ROOT / "tests" / "prometheus"
    drawer = venv("picture", *REQUIREMENTS, drawing / "requirements.txt")
    run(drawer, drawing / "picture.py", release_binary(), ROOT / "grafana" / "overview.png", options.minutes or 3)


def page(_):
    build(None)
    pictures = KEPT / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    settings = {"CHROMIUM": chromium(), "SCREENSHOTS": str(pictures)}
    with serving() as address:
        run(node(), "page.mjs", cwd=CLIENTS, BASE_URL=address, **settings)


def ws_node(_):
    build(None)
    with serving() as address:
        run(node(), "ws_node.mjs", cwd=CLIENTS, BASE_URL=address)


def ws_python(_):
    build(None)
    with serving() as address:
        run(python(), "ws_python.py", cwd=CLIENTS, BASE_URL=address)


def ws_protocol(_):
    build(None)
    with serving(WS__MAX_MESSAGE_BYTES="20000000") as address:
        run(python(), "ws_protocol.py", cwd=CLIENTS, BASE_URL=address)


def ws_slow(_):
    build(None)
    # Who does not read answers no pings.
    with serving(WS__QUEUE_BYTES="65536", WS__PING_INTERVAL_S="3600") as address:
        run(python(), "ws_python.py", cwd=CLIENTS, BASE_URL=address, SLOW="1", CLIENTS="20")


def measure(bench, *arguments, **env):
    """Runs a measurement of the release binary.

    The client is debug code: it is not what is measured, and the tests have built most of it.
    """
    build(None)
    client = ("bench", "--locked", "--quiet", "--profile", "dev", "--bench", bench, "--")
    run(cargo(), *client, "--binary", release_binary(), *arguments, **env)


def footprint(options, cycles=100_000):
    measure("footprint", "--cycles", str(options.cycles or cycles))


def fleet(options, minutes=10):
    build(None)
    command("redis-server")
    # Both fleets take turns with everything else that runs; the end of each may wait for what must come.
    limit_s = 60 * (options.minutes or minutes) + 900
    run(python(), "tests/bench/fleet.py", release_binary(), str(options.minutes or minutes), timeout_s=limit_s)


def commit(_):
    urls, skipped = [], 0
    with contextlib.ExitStack() as servers:
        for serving_one in services.DATABASES:
            try:
                urls.append(servers.enter_context(serving_one()))
            except Skipped as reason:
                print(f"skipped: {reason}", flush=True)
                skipped += 1
        run(cargo(), "bench", "--locked", "--quiet", "--bench", "commit", "--", *urls)
    return skipped


def bench_gateway(_):
    command("haproxy")
    measure("gateway", CHATFERRY_TEST_PYTHON=str(python()))


def count_instructions(options):
    instructions.check(options.update)


def soak(options):
    build(None)
    minutes = options.minutes or 30
    with running(WS__HISTORY_LIMIT="50", STORE__POOL_SIZE="4") as (address, pid):
        run(python(), "tests/bench/soak.py", address, pid, minutes, KEPT, timeout_s=minutes * 60 + 600)


def rolling(_):
    build(None)
    command("redis-server")
    run(python(), "tests/bench/rolling.py", release_binary())


STEPS = [
    Step("fmt", "the code is formatted", fmt, quick=True),
    Step("clippy", "no lint has anything to say", clippy, quick=True),
    Step("doc", "the documentation builds, and its links lead somewhere", doc),
    Step("deny", "licences, sources and versions of the crates", deny),
    Step("advisories", "no crate has a known hole", advisories),
    Step("machete", "no crate is there for nothing", machete),
    # Before any test, which must not take turns with it.
    Step("build", "the release binary", build),
    Step("test", "unit tests, and the server in a process over TCP", test, quick=True, live=True, again=failed_tests),
    Step("kit", "the tools of the comparison themselves", kit),
    Step("django_app", "settings read from Django, and what would differ", django_app, live=True),
    Step("deploy", "moves behind nginx and HAProxy with the samples", deploy, live=True),
    Step("compat", "side by side with a live Django", compat, live=True),
    Step("databases", "side by side on one database, of each kind", compat_databases, live=True),
    Step("openapi", "the API document and the answers agree", openapi, live=True),
    Step("prometheus", "a Prometheus asks all that dashboards and alerts ask", prometheus, live=True),
    Step("page", "people in Chromium use the chat page", page, live=True),
    Step("ws_node", "Node's ws, and raw sockets", ws_node, live=True),
    Step("ws_python", "Python's websockets, 200 at once", ws_python, live=True),
    Step("ws_protocol", "Autobahn's cases, by Python's websockets", ws_protocol, live=True),
    Step("ws_slow", "a slow client among quick ones, with small queues", ws_slow, live=True),
    Step("fleet", "a mixed fleet while Redis and processes are killed", lambda options: fleet(options, 0.75), live=True),
    Step("instructions", "the hot paths take no more instructions than they did", count_instructions, live=True),
    Step("footprint", "size, start and memory are within their limits", lambda options: footprint(options, 30_000), live=True),
]
EXTRA = [
    Step("move", "a whole move and back while 200 people chat, behind nginx and HAProxy", move),
    Step("footprint", "size, start and memory, in figures", footprint),
    Step("fleet", "a mixed fleet for ten minutes while Redis and processes are killed", fleet),
    Step("commit", "group commit beside inserts by hand, on each kind of database", commit),
    Step("bench_gateway", "what the gateway adds, beside HAProxy", bench_gateway),
    Step("soak", "memory, files and tasks stay what they are, into target/tests/soak.svg", soak),
    Step("rolling", "rolling restarts under 500 chatting sockets", rolling),
    Step("picture", "grafana/overview.png anew, from servers in use", picture),
]
