// A client of the protocol chatferry.v1 (src/dialect/chatferry/PROTOCOL.md), for browsers and Node. No dependencies.
//
// What it takes care of: a message is sent again under its id until it is acknowledged or refused for good; after a lost
// connection every conversation is read on from where it was; what comes twice is kept once; messages stand in the order that
// all clients have.

export const SUBPROTOCOL = 'chatferry.v1';

// Delays before coming back: random up to a bound that doubles from the first to the last, in milliseconds.
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;

// A connection on which nothing comes for so long is asked for a sign of life, and given up after as long again.
const QUIET_MS = 25_000;

// Close codes after which coming back is in vain: the rights have ended, the identity is not good.
const FINAL = new Set([1008, 4401]);

// A UUID of version 7 (RFC 9562): ids that begin with the time keep the server's tables quick.
export function newId(now = Date.now()) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let place = 5, rest = now; place >= 0; place -= 1, rest = Math.floor(rest / 256)) bytes[place] = rest % 256;
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

// Why something was not done. `code` is one of the protocol's.
export class ChatError extends Error {
  constructor({ code, detail, retry }) {
    super(detail || code);
    this.code = code;
    this.retry = retry;
  }
}

// Texts of times with six digits of a second, so that they compare as the times do.
const sortable = (time) => {
  const [seconds, fraction = ''] = time.replace('Z', '').split('.');
  return `${seconds}.${fraction.padEnd(6, '0')}`;
};
const isBefore = (one, other) => {
  const [a, b] = [sortable(one.created_at), sortable(other.created_at)];
  return a < b || (a === b && one.id < other.id);
};

class Emitter {
  #listeners = new Map();

  // Calls `listener` for each event of a name. Returns a function that takes it away.
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.#listeners.get(name).delete(listener);
  }

  _emit(name, detail) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        // A listener's fault must not cost others their event, nor the client its connection.
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

// One conversation. Events: `message` (new, or changed), `reload` (begin anew with `messages`), `read`, `typing`, `live` (all that
// was missed is there), `ended` (a ChatError).
export class Conversation extends Emitter {
  // In their order.
  messages = [];
  isLive = false;
  // Cursor of older messages; null if there are none, undefined before the first answer.
  before;
  #client;
  #byId = new Map();
  #cursor;

  constructor(client, id, cursor) {
    super();
    this.#client = client;
    this.id = id;
    this.#cursor = cursor;
  }

  // A text to come back with later, in another page or process.
  get cursor() { return this.#cursor; }

  // Sends a text. Resolves with the stored message; rejects with a ChatError if it is refused for good, or with the client closed.
  send(content, { id = newId(), kind } = {}) {
    return this.#client._send({ type: 'send', id, conversation: this.id, content, kind });
  }

  // Marks messages as read.
  async read(ids) {
    for (let from = 0; from < ids.length; from += 100) {
      await this.#client._ask({ type: 'read', conversation: this.id, messages: ids.slice(from, from + 100) });
    }
  }

  // Tells the others that the user types, or does so no more. Not sent without a connection.
  typing(isTyping = true) {
    this.#client._tell({ type: 'typing', conversation: this.id, is_typing: isTyping });
  }

  // Reads older messages into `messages`. Resolves with their number; 0 at the beginning.
  async older(limit = 50) {
    if (!this.before) return 0;
    const page = await this.#client._ask({ type: 'history', conversation: this.id, before: this.before, limit });
    this.before = page.before;
    page.messages.forEach((message) => this.#take(message));
    return page.messages.length;
  }

  // Enters the conversation on a new connection, and reads what was missed.
  async _enter() {
    this.isLive = false;
    const first = await this.#client._ask({ type: 'subscribe', conversation: this.id, after: this.#cursor });
    if (this.before === undefined || first.reload) this.before = first.before;
    if (first.reload) {
      this.messages = [];
      this.#byId.clear();
    }
    first.messages.forEach((message) => this.#take(message));
    this.#cursor = first.cursor;
    if (first.reload) this._emit('reload');
    await this.#readOn(first.next);
    this.isLive = true;
    this._emit('live');
  }

  // Reads newer messages page by page.
  async #readOn(next) {
    while (next) {
      const page = await this.#client._ask({ type: 'history', conversation: this.id, after: next, limit: 500 });
      page.messages.forEach((message) => this.#take(message));
      next = page.next;
    }
  }

  // Keeps a message once, in its place.
  #take(message) {
    const known = this.#byId.get(message.id);
    if (known && known.updated_at === message.updated_at && known.content === message.content) return;
    if (known) {
      Object.assign(known, message);
    } else {
      let place = this.messages.length;
      while (place > 0 && isBefore(message, this.messages[place - 1])) place -= 1;
      this.messages.splice(place, 0, message);
      this.#byId.set(message.id, message);
    }
    this._emit('message', this.#byId.get(message.id));
  }

  _hear(frame) {
    switch (frame.type) {
      case 'message':
        this.#take(frame.message);
        // While pages are read on there is a hole before what comes live.
        if (this.isLive) this.#cursor = frame.cursor;
        break;
      case 'ack':
        this.#take(frame.message);
        break;
      case 'read':
      case 'typing':
        this._emit(frame.type, frame);
        break;
      case 'changed':
        if (this.isLive && this.#cursor) this.#readOn(this.#cursor).catch(() => {});
        break;
      case 'unsubscribed':
        if (frame.code) this._end(new ChatError(frame));
        break;
    }
  }

  _end(error) {
    this.isLive = false;
    this.#client._forget(this.id);
    this._emit('ended', error);
  }
}

// A connection that is made again whenever it is lost. Events: `open`, `lost` (with the close code), `closed` (for good).
export class ChatClient extends Emitter {
  user = null;
  #url;
  #options;
  #socket = null;
  #isOpen = false;
  #isClosed = false;
  #attempts = 0;
  #timer;
  #heard = 0;
  #watch;
  #next = 1;
  #conversations = new Map();
  // Requests of this connection that wait for their answer, by their `ref`.
  #asked = new Map();
  // Messages that are not acknowledged, in their order, by id.
  #outbox = new Map();

  // `url`: ws://host/ws/chat/. Options: `sender` where users are not identified; `query`, a function that gives a text for each
  // attempt, as `token=…`; `WebSocket`, a constructor where there is no global one.
  constructor(url, options = {}) {
    super();
    this.#url = url;
    this.#options = options;
    this.#connect();
  }

  get isOpen() { return this.#isOpen; }

  // Number of messages that are not acknowledged yet.
  get unsent() { return this.#outbox.size; }

  // Enters a conversation, after `cursor` if that is given, until `leave`.
  join(id, cursor) {
    let conversation = this.#conversations.get(id);
    if (!conversation) {
      conversation = new Conversation(this, id, cursor);
      this.#conversations.set(id, conversation);
      if (this.#isOpen) this.#enter(conversation);
    }
    return conversation;
  }

  leave(id) {
    if (this.#conversations.delete(id)) this._tell({ type: 'unsubscribe', conversation: id });
  }

  // Resolves with a Map of the numbers of unread messages, by conversation, among the newest 1,000 of each.
  async unread(ids) {
    const { sender } = this.#options;
    const asked = { type: 'unread', conversations: ids, ...(sender && { user: sender }) };
    const { counts } = await this._ask(asked);
    return new Map(counts.map(({ conversation, unread }) => [conversation, unread]));
  }

  // Shows a fresh token of the same user before the old one runs out.
  renew(token) { this._tell({ type: 'auth', token }); }

  // Ends for good. What is not acknowledged is rejected.
  close() {
    this.#finish(new ChatError({ code: 'closed', detail: 'the client was closed', retry: false }));
    this.#socket?.close(1000);
  }

  _forget(id) { this.#conversations.delete(id); }

  _send(frame) {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new ChatError({ code: 'closed', detail: 'the client is closed', retry: false }));
      this.#outbox.set(frame.id, { frame, resolve, reject, isSent: false });
      this.#pump();
    });
  }

  _ask(frame) {
    return new Promise((resolve, reject) => {
      if (!this.#isOpen) return reject(new ChatError({ code: 'unavailable', detail: 'there is no connection', retry: true }));
      const ref = this.#next;
      this.#next += 1;
      this.#asked.set(ref, { resolve, reject });
      this.#write({ ...frame, ref });
    });
  }

  _tell(frame) {
    if (this.#isOpen) this.#write(frame);
  }

  #write(frame) {
    const { sender } = this.#options;
    const named = { send: 'sender', read: 'user', typing: 'user' }[frame.type];
    this.#socket.send(JSON.stringify(sender && named ? { [named]: sender, ...frame } : frame));
  }

  #connect() {
    const { query, WebSocket = globalThis.WebSocket } = this.#options;
    const extra = query?.();
    const url = extra ? `${this.#url}?${extra}` : this.#url;
    const socket = new WebSocket(url, SUBPROTOCOL);
    this.#socket = socket;
    socket.onmessage = ({ data }) => { if (this.#socket === socket) this.#hear(JSON.parse(data)); };
    socket.onerror = () => {};
    socket.onclose = ({ code }) => { if (this.#socket === socket) this.#lose(code); };
    this.#heard = Date.now();
    clearInterval(this.#watch);
    this.#watch = setInterval(() => this.#look(socket), QUIET_MS);
  }

  // Asks a quiet connection for a sign of life; one that gives none is lost, whatever the system thinks.
  #look(socket) {
    const quiet = Date.now() - this.#heard;
    if (quiet > 2 * QUIET_MS) {
      socket.close();
      if (this.#socket === socket) this.#lose(1006);
    } else if (quiet > QUIET_MS / 2) {
      this._tell({ type: 'ping' });
    }
  }

  #lose(code) {
    clearInterval(this.#watch);
    this.#socket = null;
    this.#isOpen = false;
    const lost = new ChatError({ code: 'unavailable', detail: 'the connection was lost', retry: true });
    for (const { reject } of this.#asked.values()) reject(lost);
    this.#asked.clear();
    for (const conversation of this.#conversations.values()) conversation.isLive = false;
    for (const message of this.#outbox.values()) message.isSent = false;
    if (this.#isClosed) return;
    if (FINAL.has(code)) {
      this.#finish(new ChatError({ code: 'denied', detail: `the server closed with ${code}`, retry: false }));
      return;
    }
    this._emit('lost', code);
    const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.#connect(), Math.random() * longest);
  }

  #finish(error) {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    for (const { reject } of [...this.#outbox.values(), ...this.#asked.values()]) reject(error);
    this.#outbox.clear();
    this.#asked.clear();
    this._emit('closed', error);
  }

  #hear(frame) {
    this.#heard = Date.now();
    switch (frame.type) {
      case 'hello':
        this.user = frame.user;
        this.#isOpen = true;
        this._emit('open', frame);
        for (const conversation of this.#conversations.values()) this.#enter(conversation);
        return;
      case 'ack':
        this.#settle(frame.id, ({ resolve }) => resolve(frame.message));
        break;
      case 'nack':
        this.#refuse(frame);
        return;
    }
    const asked = frame.ref == null ? undefined : this.#asked.get(frame.ref);
    if (asked) {
      this.#asked.delete(frame.ref);
      if (frame.type === 'error') asked.reject(new ChatError(frame));
      else asked.resolve(frame);
    }
    this.#conversations.get(frame.conversation)?._hear(frame);
  }

  async #enter(conversation) {
    try {
      await conversation._enter();
      this.#attempts = 0;
      this.#pump();
    } catch (error) {
      if (!error.retry) conversation._end(error);
      else if (this.#isOpen) this.#later(() => this.#enter(conversation));
    }
  }

  // Does something a little later, if this connection is still there.
  #later(work, ms = FIRST_DELAY_MS * (1 + Math.random())) {
    const socket = this.#socket;
    setTimeout(() => { if (this.#isOpen && this.#socket === socket) work(); }, ms);
  }

  // Sends what waits: of each conversation one at a time, so that its messages are stored in their order whatever fails.
  #pump() {
    if (!this.#isOpen) return;
    const begun = new Set();
    for (const message of this.#outbox.values()) {
      const id = message.frame.conversation;
      if (begun.has(id) || !this.#conversations.get(id)?.isLive) continue;
      begun.add(id);
      if (message.isSent || message.waits) continue;
      message.isSent = true;
      this.#write(message.frame);
    }
  }

  #settle(id, tell) {
    const message = this.#outbox.get(id);
    if (!message) return;
    this.#outbox.delete(id);
    tell(message);
    this.#pump();
  }

  #refuse(nack) {
    const message = this.#outbox.get(nack.id);
    if (!message) return;
    if (!nack.retry && nack.code !== 'not_subscribed') {
      this.#settle(nack.id, ({ reject }) => reject(new ChatError(nack)));
      return;
    }
    message.isSent = false;
    message.waits = true;
    const again = () => {
      message.waits = false;
      this.#pump();
    };
    const ms = nack.retry_after_s ? nack.retry_after_s * 1000 : FIRST_DELAY_MS * (1 + Math.random());
    setTimeout(again, ms);
  }
}
