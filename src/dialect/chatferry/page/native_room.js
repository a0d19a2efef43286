/* ==== A room over chatferry.v1: the client keeps it whole, so this only turns its events into what is drawn ================== */
/* Unsent messages of this browser, each under a key of its own, so that two tabs do not write over each other's. A message that
   both send is stored once, as it has its id from the beginning. */
const unsentKey = (me, room, id = '') => `outbox.${me}.${room}.${id}`;
function unsentOf(start) {
  try {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(`chatferry.${start}`)).map((key) => key.slice('chatferry.'.length));
    return keys.map((key) => recall(browser, key, null)).filter(Boolean).sort((a, b) => a.at - b.at);
  } catch { return []; }
}

class NativeRoom extends Room {
  #views = new Map();                // messages as the page holds them, by id; the client's own are its business
  #isStale = false;
  #reads = new Set();                // to be marked as read together
  #marked = new Set();
  #asked = new Set();                // whose receipts are known up to now, or asked for
  isLoading = false;

  /* `limit`: messages to begin with. A room in the background has few: as many as are not read. */
  constructor(entry, me, changed, chat, limit) {
    super(entry, me, changed);
    this.chat = chat;
    this.byId = this.#views;
    this.unread = entry.unread;
    this.status = chat.state === 'open' ? 'connecting' : chat.state;
    const joined = this.joined = chat.join(this.id, undefined, limit);
    joined.on('message', (wire) => this.#onMessage(wire));
    joined.on('deleted', ({ id }) => { this.#views.delete(id); this.#redraw('deleted'); });
    joined.on('reload', () => { this.#views.clear(); this.#asked.clear(); this.#redraw('merged'); });
    joined.on('read', ({ message, user }) => this.#onRead(message, user));
    joined.on('delivered', ({ messages, user }) => { for (const id of messages) this.#views.get(id)?.receivers.add(user); this.changed(this); });
    joined.on('typing', ({ user, is_typing }) => this.onTyping(user, is_typing));
    joined.on('group', (group) => { Object.assign(this, { group, peer: group.name }); this.changed(this, 'group'); });
    joined.on('presence', () => this.changed(this));
    joined.on('live', () => this.#onLive());
    joined.on('ended', (error) => this.#onEnded(error));
    this.onState = chat.on('state', (state) => this.#onState(state));
    for (const pending of unsentOf(unsentKey(me, this.id))) this.#queue(pending);
  }

  // -- connection
  connect() { this.chat.wake(); }
  probe() {}                         // the client does it, for all rooms
  leave() {
    this.stopTyping();
    this.onState();
    this.chat.leave(this.id);
  }
  #onState(state) {
    if (this.status === 'closed') return;
    if (state === 'waiting') {
      this.failures += 1;
      for (const pending of this.outbox) if (pending.state === 'sent') pending.state = 'unsure';
      for (const name of [...this.typers.keys()]) this.hideTyping(name);
    }
    if (state === 'closed') this.why = t('cut');
    this.setStatus(state === 'open' ? 'connecting' : state);
  }
  #onLive() {
    this.failures = 0;
    this.serverHasMore = Boolean(this.joined.before);
    for (const pending of this.outbox) if (pending.state !== 'failed') pending.state = 'sent';
    // What happened to receipts meanwhile is told by nobody.
    for (const id of this.#asked) if (!this.#views.get(id)?.readers.size) this.#asked.delete(id);
    this.status = 'open';
    this.#redraw('merged');
    this.everOpen = true;
    if (this.isShown) this.fill();
  }
  async #onEnded(error) {
    this.why = error.code === 'no_conversation' ? reason(error) : t('over');
    this.setStatus('closed');
    try {
      const { is_active } = await rest.conversation(this.id);
      if (is_active) return;
      this.why = t('inactive');
      for (const message of (await rest.messages(this.id)).map(toOldMessage)) this.#views.set(message.id, message);
      this.timeline = [...this.#views.values()];
      this.changed(this, 'merged');
    } catch { /* there is nothing more to say */ }
  }

  // -- messages
  #onMessage(wire) {
    const known = this.#views.get(wire.id), view = toMessage(wire);
    if (known) {
      if (known.content !== view.content) known.version += 1;
      Object.assign(known, { content: view.content, isEdited: view.isEdited });
      return this.#redraw();
    }
    this.#views.set(wire.id, view);
    this.#forget(wire.id);
    this.hideTyping(wire.sender);
    const isNews = this.joined.isLive && !this.isLoading;
    if (isNews && wire.sender !== this.me && this.unread !== null) this.unread += 1;
    this.#redraw(isNews ? 'message' : 'merged', view);
  }
  /* Many come at once with a history: the timeline is made when it is looked at. */
  #redraw(what, detail) {
    this.#isStale = true;
    this.changed(this, what, detail);
  }
  refreshTimeline() {
    if (!this.#isStale || this.why) return;
    this.#isStale = false;
    this.timeline = this.joined.messages.map(({ id }) => this.#views.get(id)).filter(Boolean);
  }
  async more(count = PAGE) {
    this.isLoading = true;
    try {
      // What is read after a cursor may be older than the first message, so some may be there already.
      const wanted = this.joined.messages.length + count;
      while (this.joined.before && this.joined.messages.length < wanted) await this.joined.older(Math.min(count, 500));
      return true;
    } catch (error) {
      this.changed(this, 'error', reason(error));
      return false;
    } finally {
      this.isLoading = false;
      this.serverHasMore = Boolean(this.joined.before);
      this.#redraw();
      this.#askReceipts();
    }
  }
  /* A room that comes on the screen gets as many messages as are drawn at once, and their marks. */
  async fill() {
    this.isShown = true;
    if (this.status !== 'open' || this.isLoading) return;
    const missing = PAGE - this.joined.messages.length;
    if (missing > 0 && this.joined.before) await this.more(missing);
    else this.#askReceipts();
  }
  /* There is no event of what comes by REST. */
  catchUp() { this.joined.refresh().catch(() => {}); }

  // -- sending: a message is sent when the server has it, and not before
  post(content, files = []) {
    this.stopTyping();
    this.#queue({ uid: newId(), content, files, at: Date.now() });
    this.changed(this);
  }
  #queue(pending) {
    pending.state = this.status === 'open' ? 'sent' : 'queued';
    if (!this.outbox.includes(pending)) this.outbox.push(pending);
    this.save(pending);
    const attachments = pending.files?.length ? pending.files.map(({ id }) => id) : undefined;
    this.joined.send(pending.content, { id: pending.uid, attachments }).then(() => this.#forget(pending.uid), (error) => {
      if (!['closed', 'withdrawn'].includes(error.code) && this.outbox.includes(pending)) this.fail(pending, reason(error));
    });
  }
  #forget(uid) {
    if (!this.outbox.some((pending) => pending.uid === uid)) return;
    this.outbox = this.outbox.filter((pending) => pending.uid !== uid);
    remember(browser, unsentKey(this.me, this.id, uid), null);
    this.changed(this);
  }
  retry(pending) { this.#queue(pending); this.changed(this); }
  discard(pending) {
    if (pending.state === 'failed' || this.joined.withdraw(pending.uid)) this.#forget(pending.uid);
  }
  save(pending) { remember(browser, unsentKey(this.me, this.id, pending.uid), pending); }

  // -- small signals
  can(feature) { return this.status === 'open' && this.chat.can(feature); }
  isOnline() { return this.can('presence') && !this.group ? this.joined.online.has(this.peer) : undefined; }
  tellTyping(on) { this.joined.typing(on); }
  edit(id, content) { return this.joined.edit(id, content); }
  remove(id) { return this.joined.delete(id); }
  markRead(id) {
    if (this.status !== 'open' || this.unread === 0 || this.#marked.has(id)) return;
    this.#marked.add(id);
    this.#reads.add(id);
    this.flushReads ??= later(() => this.#sendReads(), 50);
    this.flushReads();
  }
  #sendReads() {
    const ids = [...this.#reads];
    this.#reads.clear();
    this.joined.read(ids).then(() => this.changed(this, 'counts'), () => { for (const id of ids) this.#marked.delete(id); });
  }
  #onRead(id, user) {
    if (user === this.me) return this.changed(this, 'counts');
    this.#views.get(id)?.readers.add(user);
    this.changed(this);
  }
  async #askReceipts() {
    if (!this.can('receipts')) return;
    const ids = this.joined.messages.filter(({ id, sender }) => sender === this.me && !this.#asked.has(id)).map(({ id }) => id);
    for (const id of ids) this.#asked.add(id);
    if (!ids.length) return;
    try {
      for (const { message, user, status } of await this.joined.receipts(ids)) {
        const view = this.#views.get(message);
        if (user !== this.me) view?.[status === 'read' ? 'readers' : 'receivers'].add(user);
      }
      this.changed(this);
    } catch { for (const id of ids) this.#asked.delete(id); }
  }
}

