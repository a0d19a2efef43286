"""The steps, and in which set and lane each of them runs.

Of the steps that may start, lanes.py starts the first in this order: what costs little and fails often, then what
others need, then what takes long.
"""

import contextlib
import json
import os
import secrets
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import instructions
import libtest
import neighbours
import provision
import services
from provision import CLIENTS, REQUIREMENTS, bench, cargo, cargo_tool, chromium, command, node, pip, python, venv
from server import release_binary, running, serving
from shell import KEPT, ROOT, Failed, Skipped, run, run_reading, scratch, spending, succeeds


@dataclass(frozen=True)
class Step:
    name: str
    what: str
    # Given the options, and as `options.passed` the names of the steps that have passed; returns how many parts of it
    # were skipped, if any.
    run: Callable
    # `compute`: it is as fast as the processors are. `wait`: servers, browsers and clocks take part.
    lane: str
    # Steps that must have ended before, if they are among those that run.
    needs: tuple = ()
    # What only one step at a time can use: cargo locks the directory of a profile while it builds.
    uses: tuple = ()
    # Many wait for it: though it computes, it does not stand back for others.
    is_urgent: bool = False
    # It measures the machine: nothing runs beside it.
    alone: bool = False
    # `gate`: `tests/run` runs it. `full`: only `tests/run full` does. `named`: only who names it.
    set: str = "gate"
    # It takes long by nature: the gate runs it in small, `tests/run full` and `tests/run NAME` in its full length.
    is_scaled: bool = False
    quick: bool = False
    # Browsers, servers or processes take part, which a busy machine can make fail: with --again it has a second try.
    live: bool = False
    # What the second try runs, given the options and the Failed of the first; `run` if there is none.
    again: Callable | None = None


def scaled(options, small, full):
    """How much of something a step does that `is_scaled`."""
    return full if options.full else small


def toolchain(_):
    run(cargo(), "--version")


def install(_):
    """Asks for everything that other steps will need, while the processors compile. What is missing is their matter."""
    for ask in (
        provision.all_of_debian,
        lambda: cargo_tool("cargo-deny"),
        python,
        node,
        neighbours.channels,
        neighbours.collector,
        neighbours.events,
        neighbours.fastapi,
        neighbours.s3,
        schemathesis,
        provision.kubernetes,
        provision.hosted_packages,
        provision.messenger,
        provision.matching,
        provision.naebak,
        lambda: node(provision.NAEBAK),
        provision.mysql,
        provision.newer_debian,
        provision.newer_wheels,
    ):
        neighbours.attempt(ask)


def runner(_):
    for tests in ("tests/runner", "tests/bench"):
        run("python3", "-m", "unittest", "discover", "--start-directory", tests)


def fmt(_):
    run(cargo(), "fmt", "--all", "--check")


def compile_with_cargo(*arguments, **env):
    with spending("compiling"):
        run(cargo(), *arguments, **env)


def clippy(_):
    compile_with_cargo("clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings")


def doc(_):
    compile_with_cargo("doc", "--locked", "--no-deps", "--document-private-items", RUSTDOCFLAGS="-D warnings")
    run(cargo(), "test", "--locked", "--quiet", "--doc")


def deny(_):
    run(cargo_tool("cargo-deny"), "--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources")


def advisories(_):
    tool = cargo_tool("cargo-deny")
    if not succeeds(tool, "--locked", "fetch", "db"):
        raise Skipped("no advisory database: it cannot be fetched from here")
    run(tool, "--locked", "check", "--hide-inclusion-graph", "--disable-fetch", "advisories")


def unused(_):
    """Holds Cargo.toml to what the code uses, and to every file of the package."""
    shear = (cargo_tool("cargo-shear"), "--locked")
    run(*shear, "--deny-warnings", ROOT)
    # Most of its files are those of the package around it: here, files that it does not use are in order.
    run(*shear, ROOT / "tests" / "fuzz")


#: Where `test_build` writes down its programs, by name, for the steps that run them.
PROGRAMS = KEPT / "programs.json"


def test_build(options):
    if "test_build" not in options.passed:
        command = ("test", "--locked", "--no-run", "--quiet", "--message-format", "json-render-diagnostics")
        with spending("compiling"):
            lines = run_reading(cargo(), *command, hidden=libtest.is_message)
        KEPT.mkdir(parents=True, exist_ok=True)
        PROGRAMS.write_text(json.dumps(libtest.programs(lines)), encoding="utf-8")


def test(options):
    return libtest.skipped(run_tests(options))


def failed_tests(options, first):
    """Those tests once more that failed. Raises `first` again if something else failed too."""
    names = libtest.failed(first.output)
    if not names:
        raise first
    lines = run_tests(options, "--exact", *names)
    if (passed := libtest.passed(lines)) < len(set(names)):
        raise Failed(f"{len(set(names))} tests failed and only {passed} were run again", lines)
    return libtest.skipped(first.output)


def run_tests(options, *arguments, only=None, **env):
    """The lines that the test programs printed, or only that of one name.

    They are run as cargo runs them, but without cargo, which would wait until nothing else is compiled.
    """
    test_build(options)
    env |= tomllib.loads((ROOT / ".cargo" / "config.toml").read_text(encoding="utf-8"))["env"]
    env |= {} if options.quick else neighbours.found()
    lines, failed = [], 0
    for name, program in json.loads(PROGRAMS.read_text(encoding="utf-8")).items():
        if only not in (None, name):
            continue
        print(f"     Running {name}", flush=True)
        try:
            lines += run_reading(program, *arguments, **env)
        except Failed as failure:
            lines += failure.output
            failed += 1
    if failed:
        summary = f"error: {failed} targets failed:"
        raise Failed(summary, [*lines, summary])
    return lines


#: Tests that do more with `CHATFERRY_TEST_LONG` in the environment.
LONG_TESTS = ("write_together", "a_long_history_goes", "no_broadcast_is_lost", "no_shape_of_a_request")


def messages(options):
    return libtest.skipped(run_tests(options, *LONG_TESTS, only="it", CHATFERRY_TEST_LONG="1"))


#: Tests of each kind of server that stand for the rest, and all of them.
KINDS = ("redis::pubsub", "redis::core", "postgres::pooler", "postgres::tables", "mysql::mariadb::a_socket", "server::nginx")
ALL_KINDS = ("redis::", "postgres::", "mysql::mariadb", "server::nginx")
WHEELS = ("redis::pubsub", "postgres::tables")
ALL_WHEELS = ("redis::", "postgres::")
#: The wheels of Valkey and PostgreSQL are built without TLS and ICU.
WITHOUT = ("--skip", "redis::transport", "--skip", "postgres::ways", "--skip", "postgres::spellings")


def newer(options):
    """Runs what is run on Debian's servers on those of the next Debian, and on those of today."""
    servers, wheels = provision.newer_debian(), provision.newer_wheels()
    next_debian = newer_path(servers) | {"CHATFERRY_TEST_POSTGRES_BIN": str(servers)}
    today = {
        "CHATFERRY_TEST_REDIS_SERVER": str(wheels / "valkey-server"),
        "CHATFERRY_TEST_POSTGRES_BIN": str(wheels),
    }
    valkey = {"CHATFERRY_TEST_REDIS_SERVER": str(servers / "valkey-server")}
    lines = run_tests(options, *scaled(options, KINDS, ALL_KINDS), only="it", **next_debian)
    lines += run_tests(options, *WITHOUT, *scaled(options, WHEELS, ALL_WHEELS), only="it", **today)
    # With TLS.
    lines += run_tests(options, *scaled(options, ("redis::transport",), ("redis::",)), only="it", **valkey)
    return libtest.skipped(lines)


def newer_fronts(options):
    """Runs the moves behind proxies once more, on newer ones."""
    build(options)
    tests = ("discover", "--start-directory", "compat/deploy", "--pattern", "test_moves.py")
    path = newer_path(provision.newer_debian())
    run(python(), "-m", "unittest", *tests, CHATFERRY_BINARY=str(release_binary()), **path)


def newer_path(servers):
    return {"PATH": os.pathsep.join((str(servers), os.environ.get("PATH", os.defpath)))}


def fuzz(_):
    """Mutations by the hundred thousand, in code as fast as may be with every assertion."""
    fast = ("--config", "profile.dev.package.chatferry.opt-level=2", "--locked", "--test", "fuzz")
    compile_with_cargo("test", *fast, "--no-run", "--quiet")
    run_reading(cargo(), "test", *fast, FUZZ_INPUTS=os.environ.get("FUZZ_INPUTS", "200000"))


def build(options):
    if "build" not in options.passed:
        compile_with_cargo("build", "--locked", "--release", "--quiet")


def kit(_):
    run(python(), "-m", "unittest", "discover", "--start-directory", "compat/kit", "--pattern", "test_*.py")


def django_app(options):
    build(options)
    tests = "compat/chatferry_compat/tests"
    # Two processes: the worker's tests configure Django in theirs, and those of the app each configure their own.
    for directory in (tests, f"{tests}/worker"):
        discover = ("discover", "--start-directory", directory)
        run(python(), "-m", "unittest", *discover, PYTHONPATH=tests, CHATFERRY_BINARY=str(release_binary()))


def deploy(options):
    build(options)
    for name in ("nginx", "haproxy", "promtool", "redis-server", "fail2ban-regex", "curl", "ip"):
        command(name)
    tests = ("discover", "--start-directory", "compat/deploy")
    tools = neighbours.attempt(provision.kubernetes)
    variables = {"KUBERNETES_TOOLS": str(tools)} if tools else {}
    run(python(), "-m", "unittest", *tests, CHATFERRY_BINARY=str(release_binary()), **variables)
    return 0 if tools else 1


def move(options):
    build(options)
    for name in ("nginx", "haproxy", "redis-server", "mariadbd", "my_print_defaults"):
        command(name)
    node()
    small = scaled(options, ("--small",), ())
    pictures = ("--pictures", KEPT)
    run(python(), "compat/deploy/under_load.py", *small, *pictures, CHATFERRY_BINARY=str(release_binary()))


def compat(options):
    build(options)
    run(python(), "compat/kit/side_by_side.py", "--binary", release_binary())
    run(python(), "compat/kit/side_by_side.py", "--binary", release_binary(), "--hosted")


def consumers(options):
    build(options)
    command("redis-server")
    small = scaled(options, ("--small",), ())
    run(python(), "compat/consumers/run.py", "--binary", release_binary(), *small)
    run(provision.hosted_packages(), "compat/consumers/packages/run.py", "--binary", release_binary())
    reloads = scaled(options, ("--reloads", "3"), ("--reloads", "10"))
    run(python(), "compat/consumers/deploys.py", "--binary", release_binary(), *reloads)
    crowd = ("--sockets", "2000", "--reloads", "10", "--kills", "5", "--every", "40")
    run(python(), "compat/consumers/crowd.py", "--binary", release_binary(), *scaled(options, (), crowd))


def consumers_versions(options):
    build(options)
    command("redis-server")
    for versions, interpreter in provision.versions_of_channels().items():
        print(f"--- {versions}", flush=True)
        run(interpreter, "compat/consumers/run.py", "--binary", release_binary())
        run(interpreter, "compat/consumers/deploys.py", "--binary", release_binary(), "--reloads", "3")


def messenger(options):
    beside_itself("messenger", provision.messenger(), options)


def matching(options):
    beside_itself("matching", provision.matching(), options)


def beside_itself(system, player, options):
    build(options)
    play = ROOT / "compat" / system / "play.py"
    with services.postgresql() as database, services.redis() as redis:
        run(player, play, "--binary", release_binary(), "--database", database, "--redis", redis)


def naebak(options):
    build(options)
    play = provision.NAEBAK / "play.py"
    with services.redis() as redis:
        run(provision.naebak(), play, "--binary", release_binary(), "--redis", redis, "--node", node(provision.NAEBAK))


def wheel(options):
    build(options)
    discover = ("discover", "--start-directory", "compat/wheel")
    run(python(), "-m", "unittest", *discover, CHATFERRY_BINARY=str(release_binary()), PIP=str(pip()))


def compat_databases(options):
    build(options)
    with contextlib.ExitStack() as servers:
        urls, skipped = every_database(servers)
        run(python(), "compat/kit/side_by_side.py", "--binary", release_binary(), "--database-url", *urls)
    return skipped


def every_database(servers):
    """The URL of a server of each kind, stopped with `servers`; and how many kinds cannot be had."""
    urls, skipped = [], 0
    for serving_one in services.DATABASES:
        try:
            urls.append(servers.enter_context(serving_one()))
        except Skipped as reason:
            print(f"skipped: {reason}", flush=True)
            skipped += 1
    return urls, skipped


def openapi(options):
    build(options)
    home = ROOT / "tests" / "openapi"
    # Any bytes are a file that is taken.
    with tempfile.TemporaryDirectory() as place, serving(**files(place), ATTACHMENTS__TYPES="*") as address:
        # Here it leaves its notes, and waits for no slow answer for ever.
        checks = ("--config-file", home / "schemathesis.toml", "run", f"{address}/openapi.json", "--request-timeout", "20")
        run(schemathesis(), *checks, cwd=scratch(), timeout_s=600)
        run(openapi_venv(), home / "frames.py", BASE_URL=address)


def openapi_venv():
    return venv("openapi", ROOT / "tests" / "openapi" / "requirements.txt")


def schemathesis():
    return openapi_venv().with_name("schemathesis")


def prometheus(options):
    build(options)
    for name in ("prometheus", "promtool", "redis-server"):
        command(name)
    tests = ("discover", "--start-directory", "tests/prometheus")
    run(python(), "-m", "unittest", *tests, CHATFERRY_BINARY=str(release_binary()))


def picture(options):
    build(options)
    for name in ("prometheus", "redis-server"):
        command(name)
    drawing = ROOT / "tests" / "prometheus"
    drawer = venv("picture", *REQUIREMENTS, drawing / "requirements.txt")
    run(drawer, drawing / "picture.py", release_binary(), ROOT / "grafana" / "overview.png", options.minutes or 3)


def files(place):
    """Settings that keep small files of messages in a directory."""
    return {"ATTACHMENTS__PLACE": place, "ATTACHMENTS__FILE_MIB": "1"}


def page(options):
    build(options)
    pictures = KEPT / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    settings = {"CHROMIUM": chromium(), "SCREENSHOTS": str(pictures)}
    secret = secrets.token_hex(32)
    signed = {"AUTH__IDENTITY": "jwt", "AUTH__JWT__SECRET": secret, "AUTH__JWT__ALGORITHMS": "HS256", "AUTH__POLICY": "participants"}
    session = {
        "AUTH__IDENTITY": "django_session",
        "AUTH__DJANGO_SESSION__LOGIN_URL": "/accounts/login/",
        "DJANGO__SECRET_KEY": secret,
        "AUTH__POLICY": "participants",
    }
    with (
        tempfile.TemporaryDirectory() as place,
        serving(**files(place)) as address,
        serving(**signed) as signed_address,
        serving(**session) as session_address,
    ):
        identified = {"SIGNED_URL": signed_address, "TOKEN_SECRET": secret, "SESSION_URL": session_address}
        run(node(), "page.mjs", cwd=CLIENTS, BASE_URL=address, **settings, **identified)
    # The same page without our own protocol.
    settings.pop("SCREENSHOTS")
    with serving(NATIVE__ENABLED="false") as address:
        run(node(), "page.mjs", cwd=CLIENTS, BASE_URL=address, NATIVE="false", ONLY="talk,outage", **settings)


def ws_node(options):
    build(options)
    with tempfile.TemporaryDirectory() as place, serving(**files(place)) as address:
        run(node(), "ws_node.mjs", cwd=CLIENTS, BASE_URL=address)
        run(node(), "client_node.mjs", cwd=CLIENTS, BASE_URL=address)


def ws_python(options):
    build(options)
    with tempfile.TemporaryDirectory() as place, serving(**files(place)) as address:
        run(python(), "ws_python.py", cwd=CLIENTS, BASE_URL=address)
        run(python(), "client_python.py", cwd=CLIENTS, BASE_URL=address)


def ws_protocol(options):
    build(options)
    with serving(WS__MAX_MESSAGE_BYTES="20000000", WS__FRAMES_PER_S="0") as address:
        run(python(), "ws_protocol.py", cwd=CLIENTS, BASE_URL=address)


def ws_slow(options):
    build(options)
    # Who does not read answers no pings.
    with serving(WS__QUEUE_BYTES="65536", WS__PING_INTERVAL_S="3600") as address:
        run(python(), "ws_python.py", cwd=CLIENTS, BASE_URL=address, SLOW="1", CLIENTS="20")


def measure(options, bench, *arguments, **env):
    """Runs a measurement of the release binary.

    The client is debug code: it is not what is measured, and the tests have built most of it.
    """
    build(options)
    client = ("bench", "--locked", "--quiet", "--profile", "dev", "--bench", bench)
    compile_with_cargo(*client, "--no-run")
    run(cargo(), *client, "--", "--binary", release_binary(), *arguments, **env)


def footprint(options):
    measure(options, "footprint", "--cycles", str(options.cycles or scaled(options, 30_000, 100_000)))


def fleet(options):
    build(options)
    command("redis-server")
    minutes = options.minutes or scaled(options, 0, 10)
    # Both fleets take turns with everything else that runs; the end of each may wait for what must come.
    run(python(), "tests/bench/fleet.py", release_binary(), str(minutes), timeout_s=60 * minutes + 900)


def commit(_):
    with spending("compiling"):
        program = bench("commit")
    with contextlib.ExitStack() as servers:
        urls, skipped = every_database(servers)
        run(program, *urls)
    return skipped


def outbox(_):
    with spending("compiling"):
        program = bench("outbox")
    with services.mariadb() as url, services.redis() as redis:
        run(program, redis, url)


def bench_gateway(options):
    command("haproxy")
    measure(options, "gateway", CHATFERRY_TEST_PYTHON=str(python()))


def count_instructions(options):
    with spending("compiling"):
        bench("instructions")
    instructions.check(options.update)


# Both layers, every kind of database; one Redis, three, and Redis behind a Sentinel.
CHAOS_GATE = ("--seeds", "24,102,191,327", "--seconds", "15", "--jobs", "2")
CHAOS_FULL = ("--seeds", "1-200", "--seconds", "40", "--jobs", "4")


def chaos(options):
    build(options)
    for name in ("faketime", "redis-server"):
        command(name)
    for ask in (neighbours.mysql, neighbours.mariadb, neighbours.postgresql):
        neighbours.attempt(ask)
    seeds = options.arguments or scaled(options, CHAOS_GATE, CHAOS_FULL)
    run(python(), "tests/chaos", "--binary", release_binary(), *seeds, timeout_s=scaled(options, 1800, 6 * 3600))


def chaos_checker(options):
    build(options)
    tests = ("discover", "--start-directory", "tests/chaos")
    run(python(), "-m", "unittest", *tests, CHATFERRY_BINARY=str(release_binary()))


def soak(options):
    build(options)
    minutes = options.minutes or scaled(options, 1, 30)
    with running(WS__HISTORY_LIMIT="50", STORE__POOL_SIZE="4") as (address, pid):
        run(python(), "tests/bench/soak.py", address, pid, minutes, KEPT, timeout_s=minutes * 60 + 600)


def rolling(options):
    build(options)
    command("redis-server")
    run(python(), "tests/bench/rolling.py", release_binary(), *scaled(options, (60, 1), (500, 2)))


def compute(name, what, run, needs=("toolchain",), **more):
    return Step(name, what, run, "compute", needs=needs, **more)


def wait(name, what, run, **more):
    return Step(name, what, run, "wait", **more)


def live(name, what, run, **more):
    """A step that starts the release binary, or more servers than that."""
    return wait(name, what, run, needs=("install", "build"), live=True, **more)


# What only one of cargo's builds at a time can use.
DEBUG, RELEASE = ("target/debug",), ("target/release",)

STEPS = [
    wait("toolchain", "cargo, and what it links with", toolchain, quick=True),
    compute("fmt", "the code is formatted", fmt, quick=True),
    compute("build", "the release binary", build, uses=RELEASE, is_urgent=True),
    # Before clippy: the tests wait more than they compute, and it compiles meanwhile.
    compute("test_build", "the tests compile", test_build, uses=DEBUG, quick=True),
    compute("clippy", "no lint has anything to say", clippy, uses=DEBUG, quick=True),
    compute("doc", "the documentation builds, and its links lead somewhere", doc, uses=DEBUG),
    wait("install", "packages and tools that the steps need", install, needs=("toolchain",)),
    wait("runner", "the runner of these steps, and what draws pictures", runner, quick=True),
    wait("deny", "licences, sources and versions of the crates", deny),
    wait("advisories", "no crate has a known hole", advisories),
    wait("unused", "no crate and no file is there for nothing", unused),
    wait("kit", "the tools of the comparison themselves", kit, needs=("install",)),
    wait(
        "test",
        "unit tests, and the server in a process over TCP",
        test,
        needs=("install", "test_build"),
        quick=True,
        live=True,
        again=failed_tests,
    ),
    wait(
        "newer",
        "Redis 8, Valkey, PostgreSQL 17 and 18, MariaDB 11.8, pgbouncer 1.24 and nginx 1.26",
        newer,
        needs=("test",),
        is_scaled=True,
        live=True,
    ),
    compute(
        "instructions",
        "the hot paths take no more instructions than they did",
        count_instructions,
        needs=("install", "build"),
        uses=RELEASE,
        live=True,
    ),
    live("deploy", "moves behind nginx and HAProxy with the samples", deploy),
    live("newer_fronts", "moves behind HAProxy 3 and nginx 1.26", newer_fronts, set="full"),
    live("move", "a whole move and back while people chat, into target/tests/move-*.svg", move, is_scaled=True),
    live("databases", "side by side on one database, of each kind", compat_databases),
    live("fleet", "a mixed fleet while Redis and processes are killed", fleet, is_scaled=True),
    live("chaos", "nothing stored is missed, by anybody, in order, under faults by seed", chaos, is_scaled=True),
    live("chaos_checker", "the checker of the chaos run finds servers that lie", chaos_checker),
    live("prometheus", "a Prometheus asks all that dashboards and alerts ask", prometheus),
    live("compat", "side by side with a live Django, and with itself when it is hosted", compat),
    live("consumers", "consumers of every shape on Daphne and hosted", consumers, is_scaled=True),
    live(
        "consumers_versions",
        "the same under each version of Channels and Django, with states that move",
        consumers_versions,
        set="full",
    ),
    live("messenger", "Messenger Core beside itself on FastAPI, together and alone", messenger),
    live("matching", "the matching chat beside itself on FastAPI, together and alone", matching),
    live("naebak", "Naebak beside itself on Flask, together and alone, and the usual clients", naebak),
    live("wheel", "the wheel in an empty environment, and a newcomer's first chat by one command", wheel),
    live("page", "people in Chromium use the chat page", page),
    live("django_app", "settings read from Django, and what would differ", django_app),
    live("soak", "memory, files and tasks stay what they are, into target/tests/soak.svg", soak, is_scaled=True),
    live("rolling", "rolling restarts under chatting sockets", rolling, is_scaled=True),
    live("ws_protocol", "Autobahn's cases, by Python's websockets", ws_protocol),
    live("ws_python", "Python's websockets, 200 at once, and our own client", ws_python),
    live("ws_slow", "a slow client among quick ones, with small queues", ws_slow),
    live("ws_node", "Node's ws, raw sockets, and our own client", ws_node),
    live("openapi", "the API documents, the answers and the frames agree", openapi),
    live("messages", "Django and Chatferry write 10,000 messages on every kind of database", messages, set="full"),
    compute("fuzz", "every target of the fuzzer stands far more inputs", fuzz, needs=("test",), uses=DEBUG, set="full"),
    live("footprint", "size, start and memory are within their limits", footprint, is_scaled=True),
    live("commit", "group commit beside inserts by hand, on each kind of database", commit, alone=True, set="full"),
    live("outbox", "the chat with an outbox beside the chat without", outbox, alone=True, set="full"),
    live("bench_gateway", "what the gateway adds, beside HAProxy", bench_gateway, alone=True, set="full"),
    live("picture", "grafana/overview.png anew, from servers in use", picture, set="named"),
]
