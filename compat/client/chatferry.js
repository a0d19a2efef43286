// A client of the protocol chatferry.v1 (src/dialect/chatferry/PROTOCOL.md), for browsers and Node. No dependencies.
//
// What it takes care of: a message is sent again under its id until it is acknowledged or refused for good; after a lost
// connection every conversation is read on from where it was; what comes twice is kept once; of two versions of a message the
// later one is kept, and a deleted one does not come back; messages stand in the order that all clients have.

export const SUBPROTOCOL = 'chatferry.v1';

// Delays before coming back: random up to a bound that doubles from the first to the last, in milliseconds.
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;

// A connection on which nothing comes for so long is asked for a sign of life, and given up after as long again.
const QUIET_MS = 25_000;

// A connection that leaves a request unanswered for so long is given up; after `wake`, which asks for a sign of life, sooner.
const ANSWER_MS = 10_000;
const WAKE_MS = 4_000;

// Delivered messages of this time are reported together. The protocol takes so many ids in one request.
const GATHER_MS = 200;
const IDS = 100;

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

// Returns true if `other` is a later version of a message than `known`.
const isChanged = (known, other) => {
  const [a, b] = [sortable(known.updated_at), sortable(other.updated_at)];
  return a < b || (a === b && known.content !== other.content);
};
const inParts = (ids) => Array.from({ length: Math.ceil(ids.length / IDS) }, (_, part) => ids.slice(part * IDS, (part + 1) * IDS));

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

// One conversation. Events: `message` (new, or changed), `deleted` (the message), `reload` (begin anew with `messages`), `read`,
// `delivered`, `typing`, `presence`, `group` (its name, roles or members have changed), `live` (all that was missed is there),
// `ended` (a ChatError).
export class Conversation extends Emitter {
  // In their order.
  messages = [];
  // Users that are in the conversation now, on any connection; empty if the server does not tell.
  online = new Set();
  // Name, version and members with roles of a group, as last heard; undefined in a conversation of two.
  group;
  isLive = false;
  // Cursor of older messages; null if there are none, undefined before the first answer.
  before;
  #client;
  #limit;
  #byId = new Map();
  #deleted = new Set();
  #cursor;
  // Ids that are to be reported as delivered, and those that were.
  #arrived = new Set();
  #reported = new Set();
  #timer;

  constructor(client, id, cursor, limit) {
    super();
    this.#client = client;
    this.id = id;
    this.#cursor = cursor;
    this.#limit = limit;
  }

  // A text to come back with later, in another page or process.
  get cursor() { return this.#cursor; }

  // Returns the message of an id, or undefined.
  message(id) { return this.#byId.get(id); }

  // Sends a text, and uploads by their ids. Resolves with the stored message; rejects with a ChatError if it is refused for good,
  // or with the client closed.
  send(content, { id = newId(), kind, attachments } = {}) {
    return this.#client._send({ type: 'send', id, conversation: this.id, content, kind, attachments });
  }

  // Takes back what `send` was given under an id. Returns true if it was never put on a connection: then nobody gets it, and
  // `send` rejects with the code `withdrawn`.
  withdraw(id) { return this.#client._withdraw(id); }

  // Changes the text of an own message. Resolves with the message.
  async edit(id, content) {
    const { message } = await this.#client._ask({ type: 'edit', conversation: this.id, message: id, content });
    return message;
  }

  // Deletes an own message for everybody.
  async delete(id) {
    await this.#client._ask({ type: 'delete', conversation: this.id, message: id });
  }

  // Marks messages as read.
  async read(ids) {
    for (const messages of inParts(ids)) await this.#client._ask({ type: 'read', conversation: this.id, messages });
  }

  // Resolves with the receipts of messages: who got each and who read it, and when.
  async receipts(ids) {
    const answers = [];
    for (const messages of inParts(ids)) answers.push(await this.#client._ask({ type: 'receipts', conversation: this.id, messages }));
    return answers.flatMap((answer) => answer.receipts);
  }

  // Takes users into the group.
  invite(users) { return this.#regroup({ type: 'invite', members: users }); }

  // Takes a member out of the group.
  remove(user) { return this.#regroup({ type: 'remove', member: user }); }

  // Gives the group another name.
  rename(name) { return this.#regroup({ type: 'rename', name }); }

  // Gives a member the role `owner` or `member`.
  assign(user, role) { return this.#regroup({ type: 'role', member: user, role }); }

  // Leaves the group for good. The conversation ends with the code `not_member` where users are identified.
  async quit() {
    await this.#client._ask({ type: 'leave', conversation: this.id });
  }

  // Changes the group. Resolves with it.
  async #regroup(frame) {
    const { group } = await this.#client._ask({ ...frame, conversation: this.id });
    return group;
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

  // Reads what was stored since the cursor: there is no event of what Django stores by REST.
  async refresh() {
    if (this.isLive && this.#cursor) await this.#readOn(this.#cursor);
  }

  // Enters the conversation on a new connection, and reads what was missed.
  async _enter() {
    this.isLive = false;
    this.online.clear();
    const limit = this.#cursor === undefined ? this.#limit : undefined;
    const first = await this.#client._ask({ type: 'subscribe', conversation: this.id, after: this.#cursor, limit });
    this.#learn(first.group);
    if (this.before === undefined || first.reload) this.before = first.before;
    if (first.reload) {
      this.messages = [];
      this.#byId.clear();
    }
    for (const message of first.messages) this.#take(message, true);
    for (const message of first.updated ?? []) this.#update(message);
    for (const id of first.deleted ?? []) this.#drop(id);
    if (first.reload) this._emit('reload');
    await this.#readOn(first.next);
    // Only now: a connection that is lost before has left a hole.
    this.#cursor = first.cursor;
    this.isLive = true;
    this._emit('live');
  }

  // Keeps the newest state of the group, in whatever order they come.
  #learn(group) {
    if (!group || this.group?.version >= group.version) return;
    this.group = group;
    this._emit('group', group);
  }

  // Reads newer messages page by page.
  async #readOn(next) {
    while (next) {
      const page = await this.#client._ask({ type: 'history', conversation: this.id, after: next, limit: 500 });
      page.messages.forEach((message) => this.#take(message, true));
      next = page.next;
    }
  }

  // Keeps a message once, in its place and in its latest version. `isNews`: it was perhaps not delivered before.
  #take(message, isNews = false) {
    const known = this.#byId.get(message.id);
    if (this.#deleted.has(message.id)) return;
    if (known && !isChanged(known, message)) return;
    if (known) {
      Object.assign(known, message);
    } else {
      let place = this.messages.length;
      while (place > 0 && isBefore(message, this.messages[place - 1])) place -= 1;
      this.messages.splice(place, 0, message);
      this.#byId.set(message.id, message);
      if (isNews && message.sender !== this.#client.me) this.#report(message.id);
    }
    this._emit('message', this.#byId.get(message.id));
  }

  // A version of a message. One that is older than all that is kept comes with the history.
  #update(message) {
    const isOlder = this.before && this.messages.length > 0 && isBefore(message, this.messages[0]);
    if (this.#byId.has(message.id) || !isOlder) this.#take(message);
  }

  #drop(id) {
    this.#deleted.add(id);
    const message = this.#byId.get(id);
    if (!message) return;
    this.#byId.delete(id);
    this.messages.splice(this.messages.indexOf(message), 1);
    this._emit('deleted', message);
  }

  // Reports a message as delivered, a little later and together with others.
  #report(id) {
    if (!this.#client._reports || this.#reported.has(id)) return;
    this.#reported.add(id);
    this.#arrived.add(id);
    this.#timer ??= setTimeout(async () => {
      this.#timer = undefined;
      const ids = [...this.#arrived];
      this.#arrived.clear();
      for (const messages of inParts(ids)) {
        // What fails is reported when it comes again; being read says that it was delivered, too.
        await this.#client._ask({ type: 'delivered', conversation: this.id, messages })
          .catch(() => messages.forEach((each) => this.#reported.delete(each)));
      }
    }, GATHER_MS);
  }

  _hear(frame) {
    switch (frame.type) {
      case 'message':
        this.#take(frame.message, true);
        // While pages are read on there is a hole before what comes live.
        if (this.isLive) this.#cursor = frame.cursor;
        break;
      case 'ack':
        this.#take(frame.message);
        break;
      case 'updated':
        this.#update(frame.message);
        break;
      case 'deleted':
        this.#drop(frame.message);
        break;
      case 'group':
        this.#learn(frame.group);
        break;
      case 'presence':
        for (const { user, online } of frame.users) this.online[online ? 'add' : 'delete'](user);
        this._emit('presence', frame);
        break;
      case 'read':
      case 'delivered':
      case 'typing':
        this._emit(frame.type, frame);
        break;
      case 'changed':
        this.refresh().catch(() => {});
        break;
      case 'unsubscribed':
        if (frame.code) this._end(new ChatError(frame));
        break;
    }
  }

  _end(error) {
    this.isLive = false;
    this.#client._forget(this.id, error);
    this._emit('ended', error);
  }
}

// A connection that is made again whenever it is lost. Events: `state` (see the getter), `open` (with the server's `hello`), `lost`
// (with the close code), `membership` (the user has become a member of a group, or is none any more), `closed` (for good).
export class ChatClient extends Emitter {
  // Who the server says this is, where it identifies users.
  user = null;
  #url;
  #options;
  #socket = null;
  #state = 'connecting';
  #features = null;
  #hasList = true;
  #limits = {};
  #attempts = 0;
  #retry;
  #heard = 0;
  #watch;
  #patience;
  #next = 1;
  #conversations = new Map();
  // Requests of this connection that wait for their answer, by their `ref`.
  #asked = new Map();
  // Messages that are not acknowledged, in their order, by id.
  #outbox = new Map();

  // `url`: ws://host/ws/chat/. Options: `sender` where users are not identified; `query`, a function that gives a text for each
  // attempt, as `token=…`; `protocols`, one that gives more subprotocols, as a word and a token; `delivered: false` reports
  // nothing as delivered; `WebSocket`, a constructor where there is no global one.
  constructor(url, options = {}) {
    super();
    this.#url = url;
    this.#options = options;
    this.#connect();
  }

  // `connecting`, `open`, `waiting` (a retry is due) or `closed` (for good).
  get state() { return this.#state; }

  get isOpen() { return this.#state === 'open'; }

  // The user who speaks here, or undefined before the first answer of a server that identifies users.
  get me() { return this.user ?? this.#options.sender; }

  // Number of messages that are not acknowledged yet.
  get unsent() { return this.#outbox.size; }

  // Bounds that the server has said, as `message_bytes`, and `attachments` and `attachment_bytes` where it takes files.
  get limits() { return this.#limits; }

  // Returns whether the server can do something: `edit` (and delete), `presence`, `receipts`, `groups`, `attachments`, or
  // `conversations`
  // (and open).
  can(feature) {
    if (feature === 'conversations') return this.#features !== null && this.#hasList;
    return Boolean(this.#features?.includes(feature));
  }

  // Enters a conversation until `leave`: after `cursor` if that is given, else with its newest `limit` messages.
  join(id, cursor, limit) {
    let conversation = this.#conversations.get(id);
    if (!conversation) {
      conversation = new Conversation(this, id, cursor, limit);
      this.#conversations.set(id, conversation);
      if (this.isOpen) this.#enter(conversation);
    }
    return conversation;
  }

  leave(id) {
    if (this.#conversations.delete(id)) this._tell({ type: 'unsubscribe', conversation: id });
  }

  // Resolves with a page of the user's conversations, the newest activity first, and `next`, the cursor of the page after it.
  conversations({ after, limit } = {}) { return this.#askList({ type: 'conversations', after, limit }); }

  // Resolves with the conversation with another user, which is made if there is none.
  async open(user) { return (await this.#askList({ type: 'open', with: user })).conversation; }

  // Makes a group of the user and others. Resolves with its conversation. Called again with the same `key`, it is made once.
  async create(name, members, key = newId()) { return (await this._ask({ type: 'create', name, members, key })).conversation; }

  // An older server does not know these requests, which is no feature that its hello lists.
  async #askList(frame) {
    try {
      return await this._ask(frame);
    } catch (error) {
      if (error.code === 'bad_frame') this.#hasList = false;
      throw error;
    }
  }

  // Resolves with a Map of the numbers of unread messages, by conversation, among the newest 1,000 of each.
  async unread(ids) {
    const answers = [];
    for (const conversations of inParts(ids)) answers.push(await this._ask({ type: 'unread', conversations }));
    return new Map(answers.flatMap(({ counts }) => counts.map(({ conversation, unread }) => [conversation, unread])));
  }

  // Shows a fresh token of the same user before the old one runs out.
  renew(token) { this._tell({ type: 'auth', token }); }

  // For when the network may have changed, or the machine slept: connects now if a retry is due, else asks for a sign of life.
  wake() {
    if (this.#state === 'waiting') {
      clearTimeout(this.#retry);
      this.#connect();
    } else if (this.isOpen) {
      this.#write({ type: 'ping' });
      this.#expect(WAKE_MS);
    }
  }

  // Ends for good. What is not acknowledged is rejected.
  close() {
    this.#finish(new ChatError({ code: 'closed', detail: 'the client was closed', retry: false }));
    this.#socket?.close(1000);
  }

  get _reports() { return this.#options.delivered !== false && this.can('receipts'); }

  _forget(id, error) {
    this.#conversations.delete(id);
    for (const { frame } of [...this.#outbox.values()]) {
      if (frame.conversation === id) this.#settle(frame.id, ({ reject }) => reject(error));
    }
  }

  _send(frame) {
    return new Promise((resolve, reject) => {
      if (this.#state === 'closed') return reject(new ChatError({ code: 'closed', detail: 'the client is closed', retry: false }));
      this.#outbox.set(frame.id, { frame, resolve, reject, isSent: false, wasSent: false });
      this.#pump();
    });
  }

  _withdraw(id) {
    const message = this.#outbox.get(id);
    if (!message || message.wasSent) return false;
    this.#settle(id, ({ reject }) => reject(new ChatError({ code: 'withdrawn', detail: 'it was taken back', retry: false })));
    return true;
  }

  _ask(frame) {
    return new Promise((resolve, reject) => {
      if (!this.isOpen) return reject(new ChatError({ code: 'unavailable', detail: 'there is no connection', retry: true }));
      const ref = this.#next;
      this.#next += 1;
      this.#asked.set(ref, { resolve, reject });
      this.#write({ ...frame, ref });
      this.#expect(ANSWER_MS);
    });
  }

  _tell(frame) {
    if (this.isOpen) this.#write(frame);
  }

  #write(frame) { this.#socket.send(this.#encode(frame)); }

  // Where users are not identified each frame names the one it speaks for.
  #encode(frame) {
    const { sender } = this.#options;
    const isAnonymous = ['unsubscribe', 'history', 'receipts', 'auth', 'ping'].includes(frame.type);
    if (sender === undefined || isAnonymous) return JSON.stringify(frame);
    return JSON.stringify({ [frame.type === 'send' ? 'sender' : 'user']: sender, ...frame });
  }

  #become(state) {
    this.#state = state;
    this._emit('state', state);
  }

  #connect() {
    const { query, protocols, WebSocket = globalThis.WebSocket } = this.#options;
    const extra = query?.();
    const url = extra ? `${this.#url}?${extra}` : this.#url;
    const socket = new WebSocket(url, [SUBPROTOCOL, ...protocols?.() ?? []]);
    this.#socket = socket;
    socket.onmessage = ({ data }) => { if (this.#socket === socket) this.#hear(JSON.parse(data)); };
    socket.onerror = () => {};
    socket.onclose = ({ code }) => { if (this.#socket === socket) this.#lose(code); };
    this.#heard = performance.now();
    clearInterval(this.#watch);
    this.#watch = setInterval(() => this.#look(), QUIET_MS);
    this.#become('connecting');
    this.#expect(ANSWER_MS);
  }

  // Asks a quiet connection for a sign of life; one that gives none is lost, whatever the system thinks.
  #look() {
    const quiet = performance.now() - this.#heard;
    if (quiet > 2 * QUIET_MS) this.#drop();
    else if (quiet > QUIET_MS / 2) this._tell({ type: 'ping' });
  }

  // Gives the connection up if nothing comes within this time, unless a long frame is still going out. The time doubles with
  // each attempt: many clients that come back at once may keep a server busy for longer.
  #expect(ms, left = Infinity) {
    if (this.#patience !== undefined && ms === ANSWER_MS) return;
    const socket = this.#socket;
    this.#bePatient();
    this.#patience = setTimeout(() => {
      this.#bePatient();
      const { bufferedAmount } = socket;
      if (bufferedAmount > 0 && bufferedAmount < left) this.#expect(ms, bufferedAmount);
      else this.#drop();
    }, ms * 2 ** Math.min(this.#attempts, 3));
  }

  #bePatient() {
    clearTimeout(this.#patience);
    this.#patience = undefined;
  }

  #drop() {
    const socket = this.#socket;
    this.#lose(1006);
    socket.close();
  }

  #lose(code) {
    clearInterval(this.#watch);
    this.#bePatient();
    this.#socket = null;
    const lost = new ChatError({ code: 'unavailable', detail: 'the connection was lost', retry: true });
    for (const { reject } of this.#asked.values()) reject(lost);
    this.#asked.clear();
    for (const conversation of this.#conversations.values()) conversation.isLive = false;
    for (const message of this.#outbox.values()) message.isSent = false;
    if (this.#state === 'closed') return;
    if (FINAL.has(code)) {
      this.#finish(new ChatError({ code: 'denied', detail: `the server closed with ${code}`, retry: false }));
      return;
    }
    const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#retry = setTimeout(() => this.#connect(), Math.random() * longest);
    this.#become('waiting');
    this._emit('lost', code);
  }

  #finish(error) {
    if (this.#state === 'closed') return;
    clearTimeout(this.#retry);
    this.#bePatient();
    clearInterval(this.#watch);
    this.#state = 'closed';
    for (const { reject } of [...this.#outbox.values(), ...this.#asked.values()]) reject(error);
    this.#outbox.clear();
    this.#asked.clear();
    this._emit('state', 'closed');
    this._emit('closed', error);
  }

  #hear(frame) {
    this.#heard = performance.now();
    this.#bePatient();
    switch (frame.type) {
      case 'hello':
        this.user = frame.user;
        this.#features = frame.features ?? null;
        this.#limits = frame.limits;
        this.#hasList = true;
        if (this.#conversations.size === 0) this.#attempts = 0;
        this.#become('open');
        this._emit('open', frame);
        for (const conversation of this.#conversations.values()) this.#enter(conversation);
        return;
      case 'ack':
        this.#settle(frame.id, ({ resolve }) => resolve(frame.message));
        break;
      case 'nack':
        this.#refuse(frame);
        return;
      case 'membership':
        this._emit('membership', frame);
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
      if (this.#conversations.get(conversation.id) !== conversation) return;
      if (!error.retry) conversation._end(error);
      else if (this.isOpen) this.#later(() => this.#enter(conversation));
    }
  }

  // Does something a little later, if this connection is still there.
  #later(work, ms = FIRST_DELAY_MS * (1 + Math.random())) {
    const socket = this.#socket;
    setTimeout(() => { if (this.isOpen && this.#socket === socket) work(); }, ms);
  }

  // Sends what waits: of each conversation one at a time, so that its messages are stored in their order whatever fails.
  #pump() {
    if (!this.isOpen) return;
    const begun = new Set();
    for (const message of [...this.#outbox.values()]) {
      const id = message.frame.conversation;
      if (begun.has(id) || !this.#conversations.get(id)?.isLive) continue;
      if (message.isSent || message.waits || this.#post(message)) begun.add(id);
    }
  }

  // Sends a message, unless the server would close the connection over its length.
  #post(message) {
    const text = this.#encode(message.frame);
    const length = new TextEncoder().encode(text).length;
    if (length > (this.#limits.message_bytes || Infinity)) {
      const detail = `it has ${length} bytes, of which the server takes ${this.#limits.message_bytes}`;
      this.#outbox.delete(message.frame.id);
      message.reject(new ChatError({ code: 'too_long', detail, retry: false }));
      return false;
    }
    message.isSent = message.wasSent = true;
    this.#socket.send(text);
    this.#expect(ANSWER_MS);
    return true;
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

// Files by the REST API of our own, which are then sent by `Conversation.send`.
export class ChatFiles {
  // Of a link a part of its life is left for the browser to use it.
  static #SPARE = 0.8;
  #api;
  #options;
  #links = new Map();

  // `api`: https://host/api/v1/. Options: `user` where users are not identified; `headers`, a function that gives those of each
  // request, as Authorization.
  constructor(api, options = {}) {
    this.#api = api;
    this.#options = options;
  }

  // Keeps a File or Blob. Resolves with {id, name, type, size, width?, height?}; rejects with a ChatError, or with the reason of
  // `signal`. `onProgress` is called with the part of the bytes that have gone out, in browsers.
  upload(file, { name = file.name ?? '', onProgress, signal } = {}) {
    const url = this.#url('attachments', { name });
    const headers = { ...this.#options.headers?.('POST'), 'Content-Type': 'application/octet-stream' };
    if (typeof XMLHttpRequest === 'undefined') return this.#answer(fetch(url, { method: 'POST', headers, body: file, signal }));
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      const lost = new ChatError({ code: 'unavailable', detail: 'the upload broke off', retry: true });
      request.open('POST', url);
      for (const [key, value] of Object.entries(headers)) request.setRequestHeader(key, value);
      request.upload.onprogress = ({ loaded, total }) => onProgress?.(total ? loaded / total : 0);
      request.onload = () => resolve(this.#answer(Promise.resolve(new Response(request.response, { status: request.status }))));
      request.onerror = () => reject(lost);
      request.onabort = () => reject(signal?.reason ?? lost);
      signal?.addEventListener('abort', () => request.abort());
      request.send(file);
    });
  }

  // Resolves with a Map of {url, thumbnail_url?, …} by id, of those that the user may read. Links are used again while they are good.
  async links(ids) {
    const now = performance.now();
    const isGood = (id) => this.#links.get(id)?.until > now;
    for (const some of inParts(ids.filter((id) => !isGood(id)))) {
      const { attachments } = await this.#answer(fetch(this.#url('attachments', { ids: some.join() }), {
        headers: this.#options.headers?.('GET'), cache: 'no-store',
      }));
      for (const link of attachments) this.#links.set(link.id, { ...link, until: now + ChatFiles.#SPARE * 1000 * link.expires_s });
    }
    return new Map(ids.filter(isGood).map((id) => [id, this.#links.get(id)]));
  }

  #url(path, parameters) {
    const { user } = this.#options;
    return `${this.#api}${path}?${new URLSearchParams({ ...parameters, ...(user !== undefined && { user }) })}`;
  }

  async #answer(asked) {
    let response;
    try {
      response = await asked;
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ChatError({ code: 'unavailable', detail: 'the server cannot be reached', retry: true });
    }
    const answer = await response.json().catch(() => null);
    if (response.ok && answer) return answer;
    throw new ChatError({ code: answer?.code ?? 'unavailable', detail: answer?.detail, retry: answer?.retry ?? true });
  }
}
