"""The checker on a group and its files: each kind of violation is found, and nothing is found where nothing is amiss."""

import unittest

from test_check import CONVERSATION, Story, identity

FILE = "f" * 32


class Group(unittest.TestCase):
    def setUp(self):
        self.story = Story()
        self.members = [{"user": "s0", "role": "owner"}, {"user": "s1", "role": "member"}]

    def finds(self, **kinds):
        for member in self.members:
            self.story.rows.append(
                {
                    "table": "chatferry_members",
                    "conversation_id": CONVERSATION,
                    "user_id": member["user"],
                    "role": member["role"],
                }
            )
        self.assertEqual(self.story.kinds(), {name.replace("_", " "): count for name, count in kinds.items()})

    def know(self, client, members):
        self.story.note(client, "group", n=1, group={"version": 1, "members": members})

    def say_with_file(self, served="digest", message=None, named=True):
        """s0 says s0/1 with a file that the tables have with `message`."""
        self.story.note("s0", "attached", n=1, number=1, file=FILE, sha256="digest")
        self.story.say(1, "s0", "s1")
        line = f'\n[chaos-file.txt](/api/v1/attachments/{FILE}/file "text/plain, 3 bytes")'
        self.story.rows[-1]["content"] += line if named else ""
        self.story.note("s0", "acked", n=1, number=1, id=identity("s0", 1))
        placed = identity("s0", 1) if message is None else message
        self.story.rows.append({"table": "chatferry_attachments", "id": FILE, "message_id": placed})
        self.story.note("s0", "file", file=FILE, sha256=served)

    def test_a_group_that_is_known_as_it_is(self):
        self.know("s0", self.members)
        self.know("s1", self.members)
        self.finds()

    def test_a_member_that_one_client_does_not_know_of(self):
        self.know("s0", self.members)
        self.know("s1", self.members[:1])
        self.finds(other_members=1)

    def test_another_role(self):
        self.know("s0", [self.members[0], {"user": "s1", "role": "owner"}])
        self.finds(other_members=2)

    def test_a_message_that_was_refused(self):
        self.story.send(1)
        self.story.note("s0", "refused", n=1, number=1, id=identity("s0", 1), tries=1)
        self.finds()

    def test_a_message_that_was_refused_and_stored(self):
        self.story.say(1, "s0", "s1")
        self.story.note("s0", "refused", n=1, number=1, id=identity("s0", 1), tries=1)
        self.finds(refused_and_stored=1)

    def test_a_message_that_was_stored_and_refused_when_it_was_sent_again(self):
        self.story.say(1, "s0", "s1")
        self.story.note("s0", "refused", n=1, number=1, id=identity("s0", 1), tries=2)
        self.finds(stored_and_then_refused=1)

    def test_a_file_that_is_well(self):
        self.say_with_file()
        self.finds()

    def test_a_file_that_is_not_served_as_it_was_uploaded(self):
        self.say_with_file(served="other")
        self.finds(file_not_served_as_it_was_uploaded=1)

    def test_a_file_that_the_tables_have_with_another_message(self):
        self.say_with_file(message=identity("s0", 2))
        self.finds(file_elsewhere=1)

    def test_a_message_that_was_stored_without_its_file(self):
        self.say_with_file(named=False)
        self.finds(stored_without_its_file=1, file_without_its_message=1)

    def test_a_file_in_two_messages(self):
        self.say_with_file()
        self.story.say(2, "s0", "s1")
        self.story.rows[-1]["content"] = "s0/2 text" + self.story.rows[0]["content"].removeprefix("s0/1 text")
        self.finds(file_elsewhere=1, file_in_several_messages=1)

    def count(self, count):
        self.know("s0", self.members)
        for number in (1, 2):
            self.story.say(number, "s0", "s1")
        self.story.note("s0", "unread", server="chatferry-0", user="s1", count=count)

    def test_unread_messages_are_counted(self):
        self.count(2)
        self.finds()

    def test_unread_messages_that_are_counted_wrongly(self):
        self.count(1)
        self.finds(counted_wrongly=1)


if __name__ == "__main__":
    unittest.main()
