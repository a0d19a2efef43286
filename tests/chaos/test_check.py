"""The checker on records written by hand: each kind of violation is found, and nothing is found where nothing is amiss."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

import json

import check
import record

CONVERSATION = "aaaaaaaa-0000-4000-8000-000000000001"


class Story:
    """Logs and tables of a run in which, at first, all is well: s0 and s1 on two processes, s0 says s0/1 to s0/3."""

    def __init__(self):
        self.logs = {"s0": [], "s1": []}
        self.rows, self.ends = [], []
        self.time = 0.0
        for place, name in enumerate(self.logs):
            self.logs[name].append({"e": "client", "client": name, "kind": "socket", "conversation": CONVERSATION})
            self.note(name, "connect", n=1, server=f"chatferry-{place}")
            self.note(name, "history", n=1, messages=[])

    def note(self, client, event, **fields):
        self.time += 1
        self.logs[client].append({"t": self.time, "e": event, **fields})

    def put_on(self, client, server):
        """Lets the connections so far have been to this server."""
        for event in self.logs[client]:
            if event["e"] == "connect":
                event["server"] = server

    def send(self, number, client="s0", n=1):
        self.note(client, "sent", n=n, sender=client, number=number)

    def store(self, number, sender="s0"):
        self.rows.append(
            {
                "table": "messages",
                "id": identity(sender, number),
                "conversation_id": CONVERSATION.replace("-", ""),
                "sender_id": sender,
                "content": f"{sender}/{number} text",
                "created_at": f"2026-01-01 00:00:{self.time:09.3f}",
            }
        )

    def show(self, *clients, number, sender="s0", n=1):
        for client in clients:
            self.note(client, "frame", n=n, **message(sender, number))

    def say(self, number, *clients, sender="s0"):
        self.send(number, sender)
        self.store(number, sender)
        self.show(*clients, number=number, sender=sender)

    def end(self):
        for name in self.logs:
            last = max(event.get("n", 0) for event in self.logs[name])
            self.note(name, "end", n=last, open=True)

    def kinds(self):
        self.end()
        with tempfile.TemporaryDirectory() as directory:
            for name, events in self.logs.items():
                write(Path(directory) / f"client-{name}.jsonl", events)
            write(Path(directory) / "tables.jsonl", self.rows)
            write(Path(directory) / "ends.jsonl", self.ends)
            return check.judge(record.read(Path(directory))).counts()


def write(file, values):
    file.write_text("".join(json.dumps(value) + "\n" for value in values))


def identity(sender, number):
    return f"{sender}-{number}".encode().hex().ljust(32, "0")


def message(sender, number):
    return {"id": identity(sender, number), "sender": sender, "content": f"{sender}/{number} text"}


def in_history(*numbers, sender="s0"):
    return [list(message(sender, number).values()) for number in numbers]


class Checker(unittest.TestCase):
    def setUp(self):
        self.story = Story()

    def finds(self, **kinds):
        self.assertEqual(self.story.kinds(), {name.replace("_", " "): count for name, count in kinds.items()})

    def test_nothing_where_all_is_well(self):
        for number in (1, 2, 3):
            self.story.say(number, "s0", "s1")
        self.finds()

    def test_a_reconnect_that_shows_all_in_the_history_is_well(self):
        self.story.say(1, "s0")
        self.story.note("s1", "close", n=1, code=1012, reason="")
        self.story.note("s1", "connect", n=2, server="chatferry-1")
        self.story.note("s1", "history", n=2, messages=in_history(1))
        self.story.send(2)
        self.story.store(2)
        self.story.show("s0", number=2)
        self.story.show("s1", number=2, n=2)
        self.finds()

    def test_a_message_not_shown_to_one_socket(self):
        self.story.say(1, "s0")
        self.finds(missed=1)

    def test_a_message_stored_and_never_shown(self):
        self.story.say(1)
        self.finds(missed=2)

    def test_a_message_shown_twice(self):
        self.story.say(1, "s0", "s1", "s1")
        self.finds(doubled=1)

    def test_a_message_in_the_history_and_live(self):
        self.story.say(1, "s0", "s1")
        self.story.note("s1", "connect", n=2, server="chatferry-1")
        self.story.note("s1", "history", n=2, messages=in_history(1))
        self.story.show("s1", number=1, n=2)
        self.finds(doubled=1)

    def test_a_message_twice_in_one_history(self):
        self.story.say(1, "s0", "s1")
        self.story.note("s1", "connect", n=2, server="chatferry-1")
        self.story.note("s1", "history", n=2, messages=in_history(1, 1))
        self.finds(doubled=1)

    def test_a_history_without_what_was_shown_before(self):
        self.story.say(1, "s0", "s1")
        self.story.note("s1", "connect", n=2, server="chatferry-1")
        self.story.note("s1", "history", n=2, messages=[])
        self.finds(missed=1, lacking_in_a_history=1)

    def test_two_messages_of_one_connection_swapped(self):
        for number in (1, 2):
            self.story.send(number)
            self.story.store(number)
        self.story.show("s0", number=1)
        self.story.show("s0", number=2)
        self.story.show("s1", number=2)
        self.story.show("s1", number=1)
        self.finds(out_of_order=1)

    def test_an_order_that_two_connections_of_a_sender_prove(self):
        self.story.say(1, "s0")
        self.story.note("s0", "connect", n=2, server="chatferry-1")
        self.story.note("s0", "history", n=2, messages=in_history(1))
        self.story.send(2, n=2)
        self.story.store(2)
        self.story.show("s0", number=2, n=2)
        self.story.show("s1", number=2)
        self.story.show("s1", number=1)
        self.finds(out_of_order=1)

    def test_no_order_where_two_connections_prove_none(self):
        self.story.send(1)
        self.story.note("s0", "connect", n=2, server="chatferry-1")
        self.story.note("s0", "history", n=2, messages=[])
        self.story.send(2, n=2)
        for number in (2, 1):
            self.story.store(number)
            self.story.show("s0", number=number, n=2)
            self.story.show("s1", number=number)
        self.finds()

    def close(self, client):
        self.story.note(client, "close", n=1, code=1006, reason="")
        self.story.note(client, "connect", n=2, server="chatferry-1")

    def test_a_message_passed_over_by_a_socket_that_is_closed_by_now(self):
        self.story.say(1, "s0")
        self.story.say(2, "s0", "s1")
        self.close("s1")
        self.story.note("s1", "history", n=2, messages=in_history(1, 2))
        self.finds(passed_over=1)

    def test_the_last_messages_before_a_socket_is_closed_are_not_passed_over(self):
        self.story.say(1, "s0", "s1")
        self.story.say(2, "s0")
        self.close("s1")
        self.story.note("s1", "history", n=2, messages=in_history(1, 2))
        self.finds()

    def end_a_process_that_only_the_tables_heard(self, *clients):
        self.story.say(1, *clients)
        self.story.ends.append({"t": self.story.time, "server": "chatferry-0"})
        self.story.note("s0", "close", n=1, code=1006, reason="")
        self.story.note("s0", "connect", n=2, server="chatferry-1")
        self.story.note("s0", "history", n=2, messages=in_history(1))
        self.story.send(2, n=2)
        self.story.store(2)
        self.story.show("s0", number=2, n=2)
        self.story.show("s1", number=2)

    def test_what_only_the_tables_knew_when_a_process_ended_may_be_late(self):
        self.end_a_process_that_only_the_tables_heard("s0")
        self.story.show("s1", number=1)
        self.finds()

    def test_a_history_that_others_read_does_not_tell_their_sockets(self):
        self.story.say(1, "s0")
        self.story.note("s0", "close", n=1, code=1012, reason="")
        self.story.note("s0", "connect", n=2, server="chatferry-1")
        self.story.note("s0", "history", n=2, messages=in_history(1))
        self.story.ends.append({"t": self.story.time, "server": "chatferry-0"})
        self.story.send(2, n=2)
        self.story.store(2)
        self.story.show("s0", number=2, n=2)
        self.story.show("s1", number=2)
        self.story.show("s1", number=1)
        self.finds()

    def test_a_process_that_could_send_for_long_before_its_end_is_held_to_it(self):
        self.story.say(1, "s0")
        self.story.note("s0", "close", n=1, code=1012, reason="")
        self.story.note("s0", "connect", n=2, server="chatferry-1")
        self.story.note("s0", "history", n=2, messages=in_history(1))
        self.story.time += 40
        self.story.ends.append({"t": self.story.time, "server": "chatferry-0"})
        self.story.send(2, n=2)
        self.story.store(2)
        self.story.show("s0", number=2, n=2)
        self.story.show("s1", number=2)
        self.story.show("s1", number=1)
        self.finds(out_of_order=1)

    def test_but_it_is_owed(self):
        self.end_a_process_that_only_the_tables_heard("s0")
        self.finds(missed=1)

    def test_a_message_shown_and_not_stored(self):
        self.story.send(1)
        self.story.show("s0", "s1", number=1)
        self.finds(shown_and_not_stored=2)

    def test_a_message_stored_twice(self):
        self.story.say(1, "s0", "s1")
        self.story.rows.append({**self.story.rows[0], "id": "b" * 32})
        self.finds(stored_twice=1, missed=2)

    def test_a_message_that_no_client_sent(self):
        self.story.store(9)
        self.story.show("s0", "s1", number=9)
        self.finds(invented=1)

    def test_a_message_shown_otherwise_than_stored(self):
        self.story.say(1, "s0", "s1")
        self.story.rows[0]["content"] = "s0/1 other"
        self.finds(shown_otherwise_than_stored=2)

    def test_a_message_not_known_as_it_was_changed(self):
        self.story.say(1, "s0", "s1")
        before = self.story.rows[-1]["content"]
        changed = self.story.rows[-1]["content"] = f"{before}{record.CHANGE}1"
        for client, content in (("s0", changed), ("s1", before)):
            self.story.note(client, "versions", n=1, messages=[(identity("s0", 1), content)])
        self.finds(not_as_it_was_changed=1)

    def test_an_acknowledged_message_that_is_not_stored(self):
        self.story.logs["r0"] = [{"e": "client", "client": "r0", "kind": "rest"}]
        self.story.note("r0", "posting", sender="r0", number=1, server="chatferry-0", conversation=CONVERSATION)
        self.story.note("r0", "posted", number=1, status=201, id=identity("r0", 1))
        self.finds(acknowledged_and_not_stored=1)

    def test_an_answer_to_a_socket_of_a_message_that_is_not_stored(self):
        self.story.send(9)
        self.story.note("s0", "acked", n=1, number=9, id=identity("s0", 9))
        self.finds(acknowledged_and_not_stored=1)

    def test_a_message_that_is_never_acknowledged(self):
        self.story.say(9, "s0", "s1")
        self.story.note("s0", "unanswered", n=1, number=9)
        self.finds(never_acknowledged=1)

    def test_a_socket_that_stays_shut(self):
        self.story.note("s1", "close", n=1, code=1006, reason="")
        self.story.end = lambda: [
            self.story.note("s0", "end", n=1, open=True),
            self.story.note("s1", "end", n=1, open=False),
        ]
        self.finds(shut=1)

    def mark(self, *clients):
        self.story.say(1, "s0", "s1")
        self.story.note("s0", "marked", n=1, message=identity("s0", 1), user="s0/r1")
        for client in clients:
            self.story.note(client, "read", n=1, message=identity("s0", 1), user="s0/r1")

    def keep_receipt(self, user="s0/r1", timestamp="2026-01-01 00:00:00"):
        self.story.rows.append(
            {
                "table": "delivery_receipts",
                "message_id": identity("s0", 1),
                "user_id": user,
                "status": "read",
                "timestamp": timestamp,
            }
        )

    def test_receipts_that_are_well(self):
        self.mark("s0", "s1")
        self.keep_receipt()
        self.finds()

    def test_a_receipt_not_shown_to_one_socket(self):
        self.mark("s0")
        self.keep_receipt()
        self.finds(receipt_missed=1)

    def test_a_receipt_shown_twice(self):
        self.mark("s0", "s1", "s1")
        self.keep_receipt()
        self.finds(receipt_doubled=1)

    def mark_before_and_after_a_connection(self, dated):
        """The first of two marks is made before a connection that shows it after the second; its row is dated so."""
        began = "2026-01-01T00:00:00.000+00:00"
        self.story.ends.append({"began": began})
        self.mark("s0")
        self.story.note("s1", "connect", n=2, server="chatferry-1")
        self.story.note("s1", "history", n=2, messages=in_history(1))
        self.story.note("s0", "marked", n=1, message=identity("s0", 1), user="s0/r2")
        for client, n, user in (("s0", 1, "s0/r2"), ("s1", 2, "s0/r2"), ("s1", 2, "s0/r1")):
            self.story.note(client, "read", n=n, message=identity("s0", 1), user=user)
        for user, second in (("s0/r1", dated), ("s0/r2", self.story.time)):
            self.keep_receipt(user, f"2026-01-01 00:00:{second:09.6f}")

    def test_receipts_out_of_order(self):
        self.mark_before_and_after_a_connection(dated=6.5)
        self.finds(receipt_out_of_order=1)

    def test_a_mark_on_django_may_come_late(self):
        self.mark_before_and_after_a_connection(dated=6.5)
        self.story.put_on("s0", "django-0")
        self.finds()

    def test_a_receipt_that_a_clock_dated_ahead_may_come_late(self):
        self.mark_before_and_after_a_connection(dated=20.5)
        self.finds()

    def test_a_receipt_shown_and_not_stored(self):
        self.mark("s0", "s1")
        # The mark, and on each of two sockets.
        self.finds(receipt_shown_and_not_stored=3)


class Django(unittest.TestCase):
    """A socket on Django is held to this: at most once live, in order, nothing invented; it may miss."""

    def setUp(self):
        self.story = Story()
        self.story.put_on("s1", "django-0")

    def test_it_may_miss(self):
        self.story.say(1, "s0")
        self.assertEqual(self.story.kinds(), {})

    def test_it_may_show_live_what_is_in_the_history(self):
        self.story.say(1, "s0", "s1")
        self.story.note("s1", "connect", n=2, server="django-0")
        self.story.note("s1", "history", n=2, messages=in_history(1))
        self.story.show("s1", number=1, n=2)
        self.assertEqual(self.story.kinds(), {})

    def test_it_may_not_show_twice(self):
        self.story.say(1, "s0", "s1", "s1")
        self.assertEqual(self.story.kinds(), {"doubled on Django": 1})

    def test_channels_redis_may_take_twice_what_another_django_has_once(self):
        self.story.put_on("s0", "django-1")
        self.story.say(1, "s0", "s1", "s1")
        self.assertEqual(self.story.kinds(), {})

    def test_what_was_sent_to_it_is_owed_to_sockets_on_chatferry(self):
        self.story.say(1, "s1", sender="s1")
        self.assertEqual(self.story.kinds(), {"missed, sent on Django": 1})


if __name__ == "__main__":
    unittest.main()
