"""Messages a second and memory of a socket, of the reference and Chatferry, in one run: 20 pairs of users who write to each
other as fast as their messages come back, for some seconds; and 300 sockets that sit there.

    python compat/messenger/bench.py --binary target/release/chatferry --database postgres://… --redis redis://…
"""

import argparse
import asyncio
import json
import time
from pathlib import Path

from play import chatferry, reference
from player import Player
from systems import databases
from websockets.asyncio.client import connect

PAIRS, SECONDS, IDLE, AHEAD = 20, 10, 300, 8


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--database", required=True)
    parser.add_argument("--redis", required=True)
    options = parser.parse_args()
    found = {}
    with databases(options.database, "messenger_bench", 2) as (a, b):
        with reference(a, f"{options.redis}/0") as server:
            found["reference"] = measure(server)
        with chatferry(options.binary, b, f"{options.redis}/1") as server:
            found["Chatferry"] = measure(server)
    for name, (rate, socket) in found.items():
        print(f"{name:10} {rate:8.0f} messages/s  {socket:6.1f} KiB a socket")
    (their_rate, their_socket), (our_rate, our_socket) = found["reference"], found["Chatferry"]
    print(f"{our_rate / their_rate:.1f} x the messages, 1/{their_socket / our_socket:.1f} of the memory of a socket")


def measure(server):
    player = Player(server.base)
    names = [f"user{number}" for number in range(2 * PAIRS)]
    for name in names:
        player.register(name)
    chats = []
    for one, other in zip(names[::2], names[1::2], strict=True):
        second = player.ask("GET", "/users/me", user=other)[1]["id"]
        chats.append(player.ask("POST", "/chats/", {"second_user_id": second}, user=one)[1]["id"])
    tokens = [player.users[name]["access_token"] for name in names]
    rate = asyncio.run(throughput(server.base, tokens, chats))
    for number in range(IDLE - len(names)):
        player.register(f"idle{number}")
    tokens = [user["access_token"] for user in player.users.values()]
    return rate, asyncio.run(memory(server, tokens))


async def throughput(base, tokens, chats):
    sockets = [await opened(base, token) for token in tokens]
    until = time.monotonic() + SECONDS
    counts = await asyncio.gather(*(
        talk(socket, chat, until) for socket, chat in zip(sockets[::2], chats, strict=True)
    ), *(hear(socket, until) for socket in sockets[1::2]))
    for socket in sockets:
        await socket.close()
    return sum(counts) / SECONDS


async def talk(socket, chat, until):
    frame = json.dumps({"type": "message", "chat_id": chat, "content": "as fast as may be"})
    for _ in range(AHEAD):
        await socket.send(frame)
    count = 0
    while time.monotonic() < until:
        if "content" in await socket.recv():
            count += 1
            await socket.send(frame)
    return count


async def hear(socket, until):
    while time.monotonic() < until:
        await asyncio.wait_for(socket.recv(), 30)
    return 0


async def memory(server, tokens):
    before = rss(server.process.pid)
    sockets = [await opened(server.base, token) for token in tokens]
    await asyncio.sleep(2)
    after = rss(server.process.pid)
    for socket in sockets:
        await socket.close()
    return max((after - before) / len(tokens), 0.1)


async def opened(base, token):
    headers = {"Authorization": f"Bearer {token}"}
    url = base.replace("http", "ws", 1) + "/ws"
    socket = await connect(url, additional_headers=headers, compression=None, ping_interval=None, max_queue=None)
    await socket.recv()
    return socket


def rss(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


if __name__ == "__main__":
    main()
