// People who chat while servers are swapped under them: the package `reconnecting-websocket` as it is, on `ws`. They
// take turns in each conversation and note what each socket showed them. Driven by JSON lines on standard input, one
// answer a line on standard output; `tests/clients` only holds the packages, the judge is compat/deploy/under_load.py.

import readline from "node:readline";
import ReconnectingWebSocket from "reconnecting-websocket";
import WebSocket from "ws";

// How long the one whose turn it is waits to hear itself, before the next one speaks all the same.
const PATIENCE_MS = 5000;
// When a connection takes too long the package closes it and looks away, and `ws` then ends the process.
const OPTIONS = { WebSocket, minReconnectionDelay: 200, maxReconnectionDelay: 1000, connectionTimeout: 600_000 };

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Client {
  constructor(url, conversation, name) {
    Object.assign(this, { conversation, name, number: 0, sockets: 0, closes: {} });
    // What the open socket has shown, by content: how often.
    this.seen = new Map();
    // What sockets showed more than once: in which step the socket was opened, and whether its history was one of the
    // places. And what a new socket's history lacked of what the last one had shown.
    this.twice = [];
    this.forgotten = [];
    // Frames that no one here has provoked.
    this.others = [];
    this.heard = () => {};
    this.socket = new ReconnectingWebSocket(url, [], OPTIONS);
    this.socket.addEventListener("open", () => this.opened());
    this.socket.addEventListener("message", (event) => this.take(JSON.parse(event.data)));
    this.socket.addEventListener("close", (event) => {
      this.closes[event.code] = (this.closes[event.code] ?? 0) + 1;
    });
    this.socket.addEventListener("error", () => {});
  }

  isOpen() {
    return this.socket.readyState === WebSocket.OPEN && !this.waitsForHistory;
  }

  opened() {
    this.sockets += 1;
    this.step = step;
    this.before = this.seen;
    this.seen = new Map();
    this.history = new Set();
    this.waitsForHistory = true;
  }

  take(frame) {
    if (frame.type === "conversation_history") {
      frame.messages.forEach((message) => this.see(message));
      this.history = new Set(this.seen.keys());
      this.forgotten.push(...[...this.before.keys()].filter((content) => !this.seen.has(content)));
      this.waitsForHistory = false;
    } else if (frame.type === "chat_message") {
      this.see(frame.message);
      if (frame.message.sender_id !== this.name && this.number % 4 === 0) {
        this.send({ type: "mark_as_read", message_id: frame.message.id, user_id: this.name });
      }
    } else if (!["message_read", "typing_status"].includes(frame.type)) {
      this.others.push(frame);
    }
  }

  see({ content }) {
    const times = (this.seen.get(content) ?? 0) + 1;
    this.seen.set(content, times);
    if (times > 1) this.twice.push({ content, step: this.step, history: this.history.has(content) });
    if (content === this.last) this.heard();
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  // Says something, and returns when it was heard, live or in the history of a new socket.
  async say() {
    this.number += 1;
    this.last = `${this.name} ${this.number}`;
    said.push([this.conversation, this.last]);
    const heard = new Promise((resolve) => (this.heard = resolve));
    if (this.number % 4 === 0) this.send({ type: "typing", user_id: this.name, is_typing: true });
    this.send({ type: "chat_message", sender_id: this.name, content: this.last });
    await Promise.race([heard, pause(PATIENCE_MS)]);
  }
}

let rooms = [];
const said = [];
let talking = false;
// What goes on, in the driver's words.
let step = null;
let turns = [];

async function takeTurns(members, pauseMs) {
  await pause(Math.random() * pauseMs);
  for (let turn = 0; talking; turn += 1) {
    await members[turn % members.length].say();
    await pause(pauseMs * (0.5 + Math.random()));
  }
}

const commands = {
  begin(what) {
    ({ step } = what);
    return {};
  },
  open({ url, conversations, each }) {
    rooms = conversations.map((id) =>
      Array.from({ length: each }, (_, n) => new Client(`${url}/ws/chat/${id}/`, id, `person ${n}`)),
    );
    return {};
  },
  talk({ pause_ms: pauseMs }) {
    talking = true;
    turns = rooms.map((members) => takeTurns(members, pauseMs));
    return {};
  },
  async hush() {
    talking = false;
    await Promise.all(turns);
    return { said };
  },
  count() {
    return { said: said.length, open: rooms.flat().filter((client) => client.isOpen()).length };
  },
  tell() {
    return {
      clients: rooms.flat().map(({ conversation, name, seen, sockets, closes, twice, forgotten, others }) => ({
        conversation,
        name,
        seen: Object.fromEntries(seen),
        sockets,
        closes,
        twice,
        forgotten,
        others,
      })),
    };
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await commands[command.do](command))}\n`);
}
process.exit(0);
