"""A chat that goes on for a long time: does the server stay as small as it is?

    python tests/bench/soak.py ADDRESS PID MINUTES DIRECTORY

People talk all the time, others come and go, and REST is asked. Between two rounds, when those who came have gone
again, the server's memory and open files are read from /proc and its tasks and connections from /metrics. DIRECTORY
gets `soak.csv` and `soak.svg`. Compared are the medians of the third quarter and of the last: fails if one of them has
grown by more than it may, memory only in a run that is long enough for it to settle. Needs websockets.

    python tests/bench/soak.py --draw DIRECTORY

draws the picture and judges anew, from `soak.csv` there.
"""

import asyncio
import csv
import json
import sys
import time
import urllib.request
from pathlib import Path

import websockets
from verdicts import MEMORY, plot, verdicts

CONVERSATIONS = 10
TALKERS = 3  # in each of them
PAUSE_S = 0.1  # between two messages of one
VISITORS = 60  # who come and go in each round
SETTLED_S = 6  # the server looks at its tasks every 5 s


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
            MEMORY: int(rss.split()[1]) / 1024,
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
        print(f"of {60 * minutes:g} s:  " + "  ".join(f"{name} {value:g}" for name, value in rows[-1].items()), flush=True)
    for talker in talkers:
        talker.cancel()
    return rows


def tell(rows, directory):
    """Draws, prints what became of each figure, and returns the exit code."""
    judged = list(verdicts(rows))
    (directory / "soak.svg").write_text(plot(rows, judged), encoding="utf-8")
    print(f"{rows[-1]['messages']} messages in {rows[-1]['second']} s")
    print("\n".join(f"{one}{', MORE THAN IT MAY' if one.has_grown else ''}" for one in judged))
    return 1 if any(one.has_grown for one in judged) else 0


def read(directory):
    with (directory / "soak.csv").open(encoding="ascii", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def main(*arguments):
    if arguments[0] == "--draw":
        return tell(read(Path(arguments[1])), Path(arguments[1]))
    address, pid, minutes, directory = arguments
    rows = asyncio.run(soak(Server(address, pid), float(minutes)))
    with (Path(directory) / "soak.csv").open("w", encoding="ascii", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return tell(rows, Path(directory))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
