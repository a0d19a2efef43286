#!/usr/bin/env python3
"""A shadow for reads that works today: asks both servers the same and compares the answers. Changes nothing.

    awk '$6 == "\\"GET" && $7 ~ /^\\/api\\/chat\\// {print $7}' /var/log/nginx/access.log | sort -u |
        compare_reads.py --django http://127.0.0.1:8000 --chatferry http://127.0.0.1:8001

One path a line on standard input. Status, content type and JSON are compared; the messages of a conversation in order
of time, since the original has none. Where they differ both are asked again, up to three times: a message may have come
in between. A difference is told by path and place, without content. Exit code 0: all the same.
"""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request

ATTEMPTS = 3
#: A place is not looked into deeper than this; real answers have four levels.
MAX_DEPTH = 20


def ask(base, path, timeout=10):
    """(status, content type, body); a server that cannot be reached is an answer too."""
    try:
        with urllib.request.urlopen(f"{base}{path}", timeout=timeout) as answer:
            return answer.status, answer.headers.get("Content-Type"), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Content-Type"), error.read()
    except OSError as error:
        return None, None, str(error).encode()


def difference(one, other):
    """Where two answers first differ, or None."""
    for what, left, right in zip(("status", "content type"), one, other, strict=False):
        if left != right:
            return f"{what}: {left}, {right}"
    try:
        left, right = json.loads(one[2]), json.loads(other[2])
    except ValueError:
        return None if one[2] == other[2] else "body"
    return place(in_order(left), in_order(right))


def in_order(answer):
    """An answer whose `messages` have an order."""
    conversations = answer if isinstance(answer, list) else [answer]
    for conversation in conversations:
        if isinstance(conversation, dict) and isinstance(conversation.get("messages"), list):
            conversation["messages"].sort(key=lambda m: (m.get("created_at", ""), m.get("id", "")))
    return answer


def place(left, right):
    """The JSON path of the first difference, in the order of the left."""
    stack = [("$", left, right)]
    while stack:
        where, left, right = stack.pop()
        if type(left) is not type(right):
            return f"{where}: {type(left).__name__}, {type(right).__name__}"
        if isinstance(left, dict) and where.count(".") < MAX_DEPTH:
            if list(left) != list(right):
                return f"{where}: keys {list(left)}, {list(right)}"
            stack += [(f"{where}.{key}", left[key], right[key]) for key in reversed(left)]
        elif isinstance(left, list) and where.count("[") < MAX_DEPTH:
            if len(left) != len(right):
                return f"{where}: {len(left)} items, {len(right)} items"
            pairs = enumerate(zip(left, right, strict=True))
            stack += [(f"{where}[{i}]", a, b) for i, (a, b) in reversed(list(pairs))]
        elif left != right:
            return f"{where}: other value"
    return None


def compare(path, django, chatferry):
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(0.2)
        found = difference(ask(django, path), ask(chatferry, path))
        if found is None:
            return None
    return found


def main(argv=None, lines=sys.stdin):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--django", required=True, metavar="URL")
    parser.add_argument("--chatferry", required=True, metavar="URL")
    parser.add_argument("--limit", type=int, default=10_000, help="paths at most [10000]")
    options = parser.parse_args(argv)
    asked = differ = 0
    for path in (line.strip() for line in lines):
        if not path.startswith("/") or asked >= options.limit:
            continue
        asked += 1
        found = compare(path, options.django.rstrip("/"), options.chatferry.rstrip("/"))
        if found:
            differ += 1
            print(f"{path}  {found}")
    print(f"{asked} asked, {differ} differ")
    return 1 if differ or not asked else 0


if __name__ == "__main__":
    sys.exit(main())
