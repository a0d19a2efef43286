"""The comparison of reads, on equal and on different answers."""

import io
import unittest
from contextlib import redirect_stdout

import compare_reads
from pair import Pair, ask


class CompareReads(unittest.TestCase):
    def test_it_says_nothing_of_equal_answers(self):
        pair = Pair(self)
        _, _, made = ask(f"{pair.django.url}/api/chat/conversations/", {"participant1_id": "a", "participant2_id": "b"})
        for number in range(3):
            url = f"{pair.django.url}/api/chat/conversations/{made['id']}/messages/send/"
            ask(url, {"sender_id": "a", "content": str(number)})
        below = f"/api/chat/conversations/{made['id']}/"
        paths = [
            below,
            f"{below}messages/",
            "/api/chat/users/a/conversations/",
            "/api/chat/nothing/",
            below + "?format=x",
        ]
        self.assertEqual(self.compare(pair.django.url, pair.chatferry.url, paths), (0, "5 asked, 0 differ\n"))
        self.assertEqual(self.compare(pair.django.url, "http://127.0.0.1:1", paths[:1])[0], 1)

    def compare(self, django, chatferry, paths):
        out = io.StringIO()
        with redirect_stdout(out):
            code = compare_reads.main(["--django", django, "--chatferry", chatferry], io.StringIO("\n".join(paths)))
        return code, out.getvalue()

    def test_a_difference_is_told_by_its_place_without_content(self):
        for left, right, where in (
            ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "$: keys ['a', 'b'], ['b', 'a']"),
            ({"a": [{"x": "s"}]}, {"a": [{"x": "t"}]}, "$.a[0].x: other value"),
            ({"a": [1]}, {"a": [1, 2]}, "$.a: 1 items, 2 items"),
            ({"a": None}, {"a": 0}, "$.a: NoneType, int"),
            ([1], [1], None),
        ):
            self.assertEqual(compare_reads.place(left, right), where)


if __name__ == "__main__":
    unittest.main()
