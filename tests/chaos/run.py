"""One run: a fleet, its clients, the faults of a plan, a quiet time in which everything must come right, and the tables
written down for the checker (check.py)."""

import asyncio
import json
import random
import subprocess
import sys
from pathlib import Path

import clients
import faults
import groups
import httpx
import native
import record
import sabotage
import shell
from fleet import Fleet

CONVERSATIONS = 3
#: On each process in each conversation.
SOCKETS = 2
#: And on each of ours, of our own protocol.
NATIVES = 1
#: The fleet is well again and clients still talk.
TALK_AFTER_S = 3
#: For all sockets to open at first, on a busy machine.
OPEN_S = 120
#: Nothing more may come that would come a second time.
STILL_S = 3
CHECKER = Path(__file__).with_name("check.py")
MESSAGES = "id, conversation_id, sender_id, content, created_at"
RECEIPTS = "message_id, user_id, status, timestamp"
#: By table: what the checker calls it, and the columns that it reads.
TABLES = {
    "messages": ("messages", MESSAGES),
    "chatferry_messages": ("messages", MESSAGES),
    "delivery_receipts": ("delivery_receipts", RECEIPTS),
    "chatferry_receipts": ("delivery_receipts", RECEIPTS),
    "chatferry_members": ("chatferry_members", "conversation_id, user_id, role"),
    "chatferry_attachments": ("chatferry_attachments", "id, uploader_id, message_id"),
}


async def run(plan, binary, directory, options):
    """Runs it in an empty directory; returns the verdict, see check.py, with complaints of the fleet."""
    (directory / "plan.json").write_text(plan.text() + "\n")
    fleet = Fleet(plan, binary, directory)
    async with fleet.started():
        outcome = await play(fleet, options)
        outcome["swept"] = fleet.read_logs()
    return check(directory) | outcome | {"complaints": fleet.complaints}


async def play(fleet, options):
    """Plays the plan; returns the facts that the checker does not have."""
    plan = fleet.plan
    conversations = await make_conversations(fleet)
    group = await groups.make(fleet)
    if options.sabotage:
        sabotage.begin(options.sabotage, fleet)
    fleet.begin()
    sockets, rests, logs = make_clients(fleet, conversations, group, options.rate)
    tasks = [asyncio.create_task(client.run()) for client in (*sockets, *rests)]
    tasks.append(asyncio.create_task(fleet.watch()))
    try:
        await failing(tasks, all_open(sockets))
        fleet.ready()
        await asyncio.gather(*(faults.inject(fleet, fault) for fault in plan.faults), fleet.at(plan.seconds))
        fleet.note("quiet", "")
        await failing(tasks, asyncio.sleep(TALK_AFTER_S))
        for client in (*sockets, *rests):
            client.speaks = False
        settled = await failing(tasks, settle(fleet, sockets, rests, options.settle_s))
        fleet.note("end", settled)
        for client in (*sockets, *rests):
            client.finish()
        counter = clients.Log(fleet.directory, "counter", fleet.began)
        logs.append(counter)
        await groups.count(fleet, group, counter)
        await write_tables(fleet)
        return {"settled": settled}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for log in logs:
            log.close()


async def all_open(sockets):
    for _ in range(10 * OPEN_S):
        if all(socket.seen is not None for socket in sockets):
            return
        await asyncio.sleep(0.1)
    raise shell.Failed("the sockets do not open")


async def failing(tasks, work):
    """The outcome of `work`. Raises what ended one of the tasks, none of which ends."""
    work = asyncio.ensure_future(work)
    done, _ = await asyncio.wait((work, *tasks), return_when=asyncio.FIRST_COMPLETED)
    for task in done - {work}:
        task.result()
    return await work


async def make_conversations(fleet):
    base = f"http://127.0.0.1:{fleet.ports[fleet.plan.chatferries[0]]}/api/chat"
    made = []
    async with httpx.AsyncClient(timeout=30) as http:
        for number in range(CONVERSATIONS):
            body = {"participant1_id": "a", "participant2_id": f"b{number}"}
            answer = await http.post(f"{base}/conversations/", json=body)
            if not answer.is_success:
                raise shell.Failed(f"no conversation could be made: {answer.status_code} {answer.text[:2000]}")
            made.append(answer.json()["id"])
    return made


def make_clients(fleet, conversations, group, rate):
    """Sockets and REST clients, and their logs. `rate` is that of messages in a second, all together."""
    plan, logs = fleet.plan, []
    ports = {server: fleet.links[f"clients:{server}"].port for server in plan.servers}
    homes = [
        (server, conversation) for server in plan.servers for conversation in conversations for _ in range(SOCKETS)
    ]

    def log(name):
        logs.append(clients.Log(fleet.directory, name, fleet.began))
        return logs[-1]

    def rng(name):
        return random.Random(f"{plan.seed} {name}")

    ours = [(server, conversation) for server in plan.chatferries for conversation in conversations] * NATIVES
    # REST clients say a tenth.
    members = groups.names(plan)
    pause_s, rest_pause_s = (len(homes) + len(ours) + len(members) + 1) / (0.9 * rate), len(plan.servers) / (0.1 * rate)

    def sockets_of(kind, letter, places):
        names = [(f"{letter}{place}", *where) for place, where in enumerate(places)]
        return [kind(name, of, server, ports, pause_s, log(name), rng(name)) for name, server, of in names]

    def member(kind, name, server):
        return kind(name, group, server, ports, pause_s, log(name), rng(name))

    sockets = sockets_of(clients.Socket, "s", homes) + sockets_of(native.Native, "n", ours)
    sockets += [member(groups.Member, *names) for names in members]
    owner = member(groups.Owner, groups.OWNER, plan.chatferries[0])
    owner.everybody = [name for name, _ in members]
    sockets.append(owner)
    rests = [
        clients.Rest(
            f"r{place}", conversations, server, ports[server], rest_pause_s, log(f"r{place}"), rng(f"r{place}")
        )
        for place, server in enumerate(plan.servers)
    ]
    return sockets, rests, logs


async def settle(fleet, sockets, rests, bound_s):
    """Waits until every socket on Chatferry has seen every message, and a little longer. Says how long that took, or
    what was still to come at the end of the bound: Django, where it is short of processors, still reads what was sent."""
    ours = [socket for socket in sockets if socket.home in fleet.plan.chatferries]
    # No socket is owed what they send.
    unheard = {rest.name for rest in rests if rest.server in fleet.plan.djangos}
    quiet_from = fleet.now()
    still_since, before, to_come = None, None, []
    while fleet.now() - quiet_from < bound_s:
        await asyncio.sleep(0.5)
        rows, members = await asyncio.to_thread(stored_now, fleet)
        stored, changed = {}, {}
        for message_id, conversation, sender, content in rows:
            if record.CHANGE in content:
                changed[bare(message_id)], _ = record.parted(content)
            if sender not in unheard:
                stored.setdefault(bare(conversation), set()).add(bare(message_id))
        to_come = [f"{socket.name} is not open" for socket in sockets if socket.seen is None]
        to_come += [f"{socket.name} waits for an answer" for socket in sockets if socket.is_waiting()]
        to_come += [f"{rest.name} waits for {rest.server}" for rest in rests if rest.busy]
        for socket in ours:
            lacks = stored.get(bare(socket.conversation), set()) - set(map(bare, socket.seen or ()))
            to_come += [f"{socket.name} lacks {len(lacks)}"] if lacks else []
            if isinstance(socket, native.Native):
                to_come += outdated(socket, changed)
            if isinstance(socket, groups.Member):
                to_come += groups.outdated(socket, members)
        to_come += [f"{len(rows) - before} more rows"] if before is not None and len(rows) != before else []
        if to_come or before is None:
            still_since, before = None, len(rows)
        elif still_since is None:
            still_since = fleet.now()
        elif fleet.now() - still_since >= STILL_S:
            return f"settled after {still_since - quiet_from:.1f} s"
    return f"not settled ({', '.join(to_come) or 'quiet for less than ' + str(STILL_S) + ' s'})"


def stored_now(fleet):
    """The messages of all conversations, and the members of the group with their roles."""
    columns = "id, conversation_id, sender_id, content"
    of_both = (fleet.database.rows(f"SELECT {columns} FROM {table}") for table in ("messages", "chatferry_messages"))
    members = fleet.database.rows("SELECT user_id, role FROM chatferry_members")
    return [row for rows in of_both for row in rows], set(map(tuple, members))


def outdated(socket, changed):
    """What a client of chatferry.v1 knows otherwise than it is stored. `changed` are contents by id."""
    known = {bare(message["id"]): message["content"] for message in socket.known.values()}
    count = sum(known[number] != content for number, content in changed.items() if number in known)
    return [f"{socket.name} has {count} that were changed"] if count else []


def bare(text):
    return text.replace("-", "")


async def write_tables(fleet):
    with (fleet.directory / "tables.jsonl").open("w", encoding="utf-8") as file:
        for table, (name, columns) in TABLES.items():
            names = columns.split(", ")
            for row in await asyncio.to_thread(fleet.database.rows, f"SELECT {columns} FROM {table}"):
                file.write(
                    json.dumps({"table": name, **dict(zip(names, row, strict=True))}, ensure_ascii=False) + "\n"
                )


def check(directory):
    done = subprocess.run((sys.executable, CHECKER, directory, "--json"), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise shell.Failed(f"the checker failed: {done.stderr[-3000:]}")
    return json.loads(done.stdout)
