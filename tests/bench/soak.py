"""A chat that goes on for a long time: does the server stay as small as it is?

    python tests/bench/soak.py ADDRESS PID MINUTES DIRECTORY

People talk all the time, others come and go, and REST is asked. Between two rounds, when those who came have gone
again, the server's memory and open files are read from /proc and its tasks and connections from /metrics. DIRECTORY
gets `soak.csv` and `soak.svg`. Fails if any of them has grown over the second half, memory only in a run that is long
enough for it to settle. Needs websockets.
"""

import asyncio
import csv
import json
import statistics
import sys
import time
import urllib.request
from pathlib import Path

import websockets

CONVERSATIONS = 10
TALKERS = 3  # in each of them
PAUSE_S = 0.1  # between two messages of one
VISITORS = 60  # who come and go in each round
SETTLED_S = 6  # the server looks at its tasks every 5 s
MEMORY_SETTLES_S = 600  # until then SQLite's page caches fill
# What a figure may be above what it was: a share of it, and so much more in any case.
ALLOWED = {"rss_kib": (0.03, 1024), "files": (0, 2), "tasks": (0, 2), "connections": (0, 2)}


class Server:
    def __init__(self, address, pid):
        self.address, self.process = address, Path("/proc") / pid

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def conversation(self, number):
        pair = {"participant1_id": f"soak-{number}", "participant2_id": "soak"}
        return json.loads(self.ask("/api/chat/conversations/", pair))["id"]

    def socket(self, conversation):
        return websockets.connect(f"{self.address.replace('http', 'ws', 1)}/ws/chat/{conversation}/", max_queue=None)

    def metric(self, name):
        lines = self.ask("/metrics").splitlines()
        return next(int(float(line.split()[1])) for line in lines if line.startswith(f"{name} "))

    def figures(self):
        status = (self.process / "status").read_text(encoding="ascii")
        rss = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return {
            "rss_kib": int(rss.split()[1]),
            "files": len(list((self.process / "fd").iterdir())),
            "tasks": self.metric("chatferry_tasks"),
            "connections": self.metric("chatferry_connections_open"),
            "messages": self.metric("chatferry_messages_stored_total"),
        }


async def talk(server, conversation, name):
    """Says something again and again, and waits each time until it is heard."""
    async with server.socket(conversation) as socket:
        number = 0
        while True:
            number += 1
            said = f"{name} {number}"
            await socket.send(json.dumps({"type": "chat_message", "sender_id": name, "content": said}))
            while json.loads(await socket.recv()).get("message", {}).get("content") != said:
                pass
            await asyncio.sleep(PAUSE_S)


async def visit(server, conversation, name):
    """Comes, types, says a word, and goes."""
    async with server.socket(conversation) as socket:
        await socket.send(json.dumps({"type": "typing", "user_id": name, "is_typing": True}))
        await socket.send(json.dumps({"type": "chat_message", "sender_id": name, "content": "hello"}))
        for _ in range(3):
            await socket.recv()
    await asyncio.to_thread(server.ask, f"/api/chat/users/{name}/conversations/")


async def soak(server, minutes):
    """The figures after each round, with the second of each."""
    conversations = [server.conversation(number) for number in range(CONVERSATIONS)]
    talkers = [
        asyncio.create_task(talk(server, conversation, f"talker-{number}-{place}"))
        for number, conversation in enumerate(conversations)
        for place in range(TALKERS)
    ]
    began, rows = time.monotonic(), []
    while time.monotonic() - began < minutes * 60:
        await asyncio.gather(*(visit(server, conversations[n % CONVERSATIONS], f"visitor-{n}") for n in range(VISITORS)))
        await asyncio.sleep(SETTLED_S)
        for talker in talkers:
            if talker.done():
                talker.result()
        rows.append({"second": round(time.monotonic() - began), **await asyncio.to_thread(server.figures)})
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    for talker in talkers:
        talker.cancel()
    return rows


def grown(rows):
    """What has grown from the third quarter to the last, in words."""
    half = rows[len(rows) // 2 :]
    third, last = half[: len(half) // 2], half[len(half) // 2 :]
    judged = [name for name in ALLOWED if name != "rss_kib" or rows[-1]["second"] >= MEMORY_SETTLES_S]
    for name in judged:
        share, more = ALLOWED[name]
        before, after = (statistics.median(row[name] for row in quarter) for quarter in (third, last))
        print(f"{name}: {before:g} in the third quarter, {after:g} in the last")
        if after > before * (1 + share) + more:
            yield f"{name} has grown from {before:g} to {after:g}"


def plot(rows):
    """One panel for each figure, from nothing to its largest value."""
    width, height, gap = 720, 120, 40
    end = rows[-1]["second"] or 1
    parts = []
    for place, name in enumerate(ALLOWED):
        top, most = place * (height + gap) + gap, max(row[name] for row in rows) or 1
        points = " ".join(f"{row['second'] / end * width:.1f},{top + height - row[name] / most * height:.1f}" for row in rows)
        parts += [
            f'<text x="0" y="{top - 10}">{name}: at most {most}</text>',
            f'<rect x="0" y="{top}" width="{width}" height="{height}" fill="none" stroke="#9fb2bd"/>',
            f'<polyline points="{points}" fill="none" stroke="#0a6583" stroke-width="2"/>',
        ]
    size = f'width="{width + 40}" height="{len(ALLOWED) * (height + gap) + gap}"'
    style = 'font-family="sans-serif" font-size="14" fill="#50616c"'
    body = "".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><g transform="translate(20,0)" {style}>{body}</g></svg>\n'


def main(address, pid, minutes, directory):
    rows = asyncio.run(soak(Server(address, pid), float(minutes)))
    with (Path(directory) / "soak.csv").open("w", encoding="ascii", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    (Path(directory) / "soak.svg").write_text(plot(rows), encoding="ascii")
    found = list(grown(rows))
    print("\n".join(found) or f"flat after {rows[-1]['messages']} messages")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
