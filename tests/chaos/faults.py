"""Makes the faults of a plan on a fleet, and heals them. Each kind is one function, a context manager: the fault lasts
as long as its body. Only the words of the plan decide what it makes."""

import asyncio
import contextlib
import random
import resource
from pathlib import Path

import redis
from databases import Unable
from links import DOWN, UP

#: Signs of a Redis that cannot be asked now; the fault is then not made.
AWAY = (redis.RedisError, OSError)
#: For SIGTERM to end a process, its drain included.
DRAIN_S = 30


#: By the names that plans have for them.
KINDS = {}


def kind(function):
    """Registers a fault: `link_cut` is `link.cut`."""
    KINDS[function.__name__.replace("_", ".", 1)] = contextlib.asynccontextmanager(function)
    return function


@kind
async def link_cut(fleet, fault):
    with fleet.links[fault.target].refusing():
        yield


@kind
async def link_reset(fleet, fault):
    fleet.links[fault.target].cut()
    yield


@kind
async def link_hold(fleet, fault):
    with fleet.links[fault.target].holding(UP, DOWN):
        yield


@kind
async def link_half_open(fleet, fault):
    with fleet.links[fault.target].half_open(UP, DOWN):
        yield


@kind
async def link_one_way(fleet, fault):
    with fleet.links[fault.target].half_open(fault.detail):
        yield


@kind
async def link_slow(fleet, fault):
    with fleet.links[fault.target].slow(fault.detail):
        yield


@kind
async def redis_stop(fleet, fault):
    with fleet.redis.hosts[fault.target].stopped():
        yield


@kind
async def redis_pause(fleet, fault):
    await fleet.redis.hosts[fault.target].ask("CLIENT", "PAUSE", int(fault.lasts_s * 1000))
    yield


@kind
async def redis_kill(fleet, fault):
    with fleet.redis.hosts[fault.target].killed():
        yield


@kind
async def redis_flush(fleet, fault):
    await fleet.redis.hosts[fault.target].ask("FLUSHALL")
    yield


@kind
async def redis_kick(fleet, fault):
    """Every connection of clients ends."""
    for kind in ("normal", "pubsub"):
        await fleet.redis.hosts[fault.target].ask("CLIENT", "KILL", "TYPE", kind)
    yield


@kind
async def redis_forget(fleet, fault):
    """Memberships are lost: some single ones, then of one group all."""
    server, rng = fleet.redis.hosts[fault.target], random.Random(fault.at_s)
    groups = sorted(await server.ask("KEYS", "asgi:group:*"))
    for group in groups:
        members = sorted(await server.ask("ZRANGE", group, 0, -1))
        if members:
            await server.ask("ZREM", group, rng.choice(members))
    if groups:
        await server.ask("DEL", rng.choice(groups))
    yield


@kind
async def redis_full(fleet, fault):
    """Out of memory: what writes is refused."""
    server = fleet.redis.hosts[fault.target]
    await server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
    try:
        yield
    finally:
        await server.answers()
        await server.ask("CONFIG", "SET", "maxmemory", "0")


@kind
async def redis_failover(fleet, fault):
    """By command, or because the master dies; it is back when the other has taken over."""
    if random.Random(fault.at_s).random() < 0.5:
        await fleet.redis.sentinel.ask("SENTINEL", "FAILOVER", "mymaster")
        yield
        return
    master = await fleet.redis.master()
    with master.killed():
        yield
        for _ in range(200):
            if await fleet.redis.master() is not master:
                break
            await asyncio.sleep(0.1)


@kind
async def database_kill(fleet, _fault):
    with fleet.database.process.killed():
        yield
    await fleet.database.ensure_up()


@kind
async def database_stop(fleet, _fault):
    with fleet.database.process.stopped():
        yield


@kind
async def database_read_only(fleet, _fault):
    async with fleet.database.is_read_only():
        yield


@kind
async def database_full(fleet, _fault):
    with fleet.database.disk.full():
        yield
    await fleet.database.ensure_up()


@kind
async def database_lock(fleet, _fault):
    async with fleet.database.locked():
        yield


@kind
async def process_kill(fleet, fault):
    with fleet.processes[fault.target].killed():
        fleet.ended(fault.target)
        yield


@kind
async def process_stop(fleet, fault):
    with fleet.processes[fault.target].stopped():
        yield


@kind
async def process_drain(fleet, fault):
    process = fleet.processes[fault.target]
    process.terminate()
    try:
        for _ in range(10 * DRAIN_S):
            if process.exit_code() is not None:
                break
            await asyncio.sleep(0.1)
        else:
            fleet.complain(f"{process.name} does not end within {DRAIN_S} s of SIGTERM")
            process.kill()
        fleet.ended(process.name)
        # 1 says that connections were still open when the time for them was over.
        if process.exit_code() not in (0, 1, None):
            fleet.complain(f"{process.name} ended with {process.exit_code()} on SIGTERM")
        yield
    finally:
        process.start_again()


@kind
async def process_clock(fleet, fault):
    """The time of day of one process is wrong by the detail, in seconds."""
    clock = fleet.clocks[fault.target]
    clock.write_text(f"{fault.detail:+}\n")
    try:
        yield
    finally:
        clock.write_text("+0\n")


@kind
async def process_files(fleet, fault):
    """It may open no further file."""
    pid = fleet.processes[fault.target].pid
    try:
        open_now = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now, hard))
    except OSError as error:
        raise Unable(f"no process {pid}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


async def inject(fleet, fault):
    """Waits for its time, makes it, and heals it."""
    await fleet.at(fault.at_s)
    made = False
    try:
        async with KINDS[fault.kind](fleet, fault):
            made = True
            fleet.note("fault", str(fault))
            await asyncio.sleep(fault.lasts_s)
    except (Unable, *AWAY) as reason:
        if made:
            raise
        fleet.note("not made", f"{fault}: {type(reason).__name__}: {reason}")
    else:
        fleet.note("healed", str(fault))
