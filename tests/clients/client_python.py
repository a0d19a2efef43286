"""The Python client of compat/client against a running server, on a network that fails. BASE_URL as in ws_python.py."""

import asyncio
import contextlib
import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[2] / "compat" / "client"))

from chatferry_client import ChatClient, ChatError, new_id
from ws_python import BASE_URL, CHECKS, check, new_conversation, person, run_checks

CHECKS.clear()


def client(sender, base=BASE_URL):
    return ChatClient(base.replace("http", "ws", 1) + "/ws/chat/", sender=sender)


async def until(probe):
    while not probe():
        await asyncio.sleep(0.02)


def contents(messages):
    return [message["content"] for message in messages]


async def stored(rest, conversation):
    return contents((await rest.get(f"conversations/{conversation}/messages/")).json())


class Relay:
    """A TCP relay in front of the server, which can be cut, and can lose the server's answers."""

    def __init__(self):
        self.is_cut = self.is_deaf = False
        self.swallowed = 0
        self.writers = set()

    @contextlib.asynccontextmanager
    async def serving(self):
        self.server = await asyncio.start_server(self.join, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self.cut()
            self.server.close()

    async def join(self, reader, writer):
        if self.is_cut:
            return writer.transport.abort()
        address = urlsplit(BASE_URL)
        far_reader, far_writer = await asyncio.open_connection(address.hostname, address.port)
        self.writers |= {writer, far_writer}
        await asyncio.gather(self.carry(reader, far_writer, False), self.carry(far_reader, writer, True))

    async def carry(self, reader, writer, is_answer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if is_answer and self.is_deaf:
                    self.swallowed += len(data)
                else:
                    writer.write(data)
        writer.close()

    def cut(self):
        self.is_cut = True
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    def mend(self):
        self.is_cut = self.is_deaf = False
        self.swallowed = 0


@check("what one says the other hears, once and in one order")
async def talk(rest):
    id = await new_conversation(rest)
    async with client("alice") as alice, client("bob") as bob:
        here, there = alice.join(id), bob.join(id)
        await until(lambda: here.is_live and there.is_live)
        sent = await asyncio.gather(*((here if number % 2 else there).send(str(number)) for number in range(40)))
        assert len({message["id"] for message in sent}) == 40
        heard = [(await anext(there))["id"] for _ in range(40)]
        assert sorted(heard) == sorted(message["id"] for message in sent)
        await until(lambda: len(here.messages) == 40)
        assert contents(here.messages) == contents(there.messages) == await stored(rest, id)


@check("a network that comes and goes loses nothing and doubles nothing")
async def outages(rest):
    id = await new_conversation(rest)
    async with Relay().serving() as relay, client("alice", relay.url) as alice, client("bob") as bob:
        here, there = alice.join(id), bob.join(id)
        await until(lambda: here.is_live and there.is_live)
        sending = []
        for number in range(6):
            sending += [asyncio.create_task(here.send(f"{number}.{each}")) for each in range(5)]
            relay.is_deaf = True
            await until(lambda: relay.swallowed)
            relay.cut()
            await until(lambda: not here.is_live)
            await there.send(f"meanwhile {number}")
            relay.mend()
            await until(lambda: here.is_live)
        await asyncio.gather(*sending)
        await until(lambda: len(here.messages) == len(there.messages) == 36)
        order = contents(here.messages)
        assert order == contents(there.messages) == await stored(rest, id)
        own = [content for content in order if not content.startswith("meanwhile")]
        assert own == [f"{number}.{each}" for number in range(6) for each in range(5)]


@check("what is said without a connection is sent when there is one")
async def offline(rest):
    id = await new_conversation(rest)
    async with Relay().serving() as relay:
        relay.cut()
        async with client("alice", relay.url) as alice:
            conversation = alice.join(id)
            sending = [asyncio.create_task(conversation.send(content)) for content in ("one", "two")]
            await asyncio.sleep(0)
            relay.mend()
            assert contents(await asyncio.gather(*sending)) == ["one", "two"]
    assert await stored(rest, id) == ["one", "two"]


@check("a cursor leads on in another process, and an edit and a deletion come along")
async def cursors(rest):
    id = await new_conversation(rest)
    async with client("alice") as alice:
        here = alice.join(id)
        sent = [await here.send(content) for content in ("one", "two", "three")]
        async with client("bob") as bob:
            there = bob.join(id)
            await until(lambda: there.is_live)
            assert contents(there.messages) == ["one", "two", "three"]
            cursor = there.cursor
        await here.edit(sent[0]["id"], "ONE")
        await here.delete(sent[1]["id"])
        await here.send("four")
        async with client("bob") as bob:
            there = bob.join(id, cursor)
            await until(lambda: there.is_live)
            assert "four" in contents(there.messages) and "two" not in contents(there.messages)
            await there.read([sent[0]["id"]])
            assert (await bob.unread([id])) == {id: 2}
        assert contents(here.messages) == ["ONE", "three", "four"]
        receipts = await here.receipts([sent[0]["id"]])
        assert [(receipt["user"], receipt["status"]) for receipt in receipts] == [("bob", "read")]


@check("a group is made, changed and left, and each member has its newest state")
async def groups(rest):
    one, two, three = person("group"), person("group"), person("group")
    async with client(one) as alice, client(two) as bob:
        made = await alice.create("여행", [two], "key")
        assert (await alice.create("여행", [two], "key"))["id"] == made["id"]
        here, there = alice.join(made["id"]), bob.join(made["id"])
        await until(lambda: here.is_live and there.is_live)
        await here.invite([three])
        await here.rename("모임")
        await here.assign(two, "owner")
        await until(lambda: there.group["version"] == 4)
        assert {member["user"]: member["role"] for member in there.group["members"]} == {
            one: "owner", two: "owner", three: "member",
        }
        await there.send("hello all")
        await until(lambda: contents(here.messages) == ["hello all"])
        await there.remove(three)
        await here.quit()
        await until(lambda: len(there.group["members"]) == 1)
        assert there.group["name"] == "모임"


@check("what is refused is refused for good, and the rest goes on")
async def refusals(rest):
    id = await new_conversation(rest)
    async with client(person("alice")) as alice:
        here, nowhere = alice.join(id), alice.join(new_id())
        try:
            await nowhere.send("lost")
            raise AssertionError("it was taken")
        except ChatError as error:
            assert error.code == "no_conversation", error
        first = await here.send("one")
        async with client(person("bob")) as bob:
            there = bob.join(id)
            try:
                await there.send("two", id=first["id"])
                raise AssertionError("the id was taken twice")
            except ChatError as error:
                assert error.code == "id_taken", error
        waiting = asyncio.create_task(alice.join(new_id()).send("never"))
        await asyncio.sleep(0)
    try:
        await waiting
        raise AssertionError("it was sent")
    except ChatError as error:
        assert error.code in ("closed", "no_conversation"), error


@check("a file is uploaded and sent with a message")
async def uploads(rest):
    id = await new_conversation(rest)
    async with client("alice") as alice:
        here = alice.join(id)
        await until(lambda: here.is_live)
        assert "attachments" in alice.hello["features"]
        file = await alice.upload(BASE_URL + "/api/v1/", b"some text", "note.txt")
        assert (file["name"], file["type"], file["size"]) == ("note.txt", "text/plain", 9), file
        sent = await here.send("look", attachments=[file["id"]])
        assert sent["attachments"] == [file], sent
        try:
            await alice.upload(BASE_URL + "/api/v1/", b"", "empty")
            raise AssertionError("it was taken")
        except ChatError as error:
            assert (error.code, error.retry) == ("bad_request", False), error


if __name__ == "__main__":
    sys.exit(asyncio.run(run_checks()))
