/* ==== A room over Django's protocol: a socket of its own, and a guess which echo answers what ================================ */
class OldRoom extends Room {
  constructor(entry, me, changed) {
    super(entry, me, changed);
    this.marked = new Set(); this.markedForSure = new Set();
    this.outbox = recall(tab, `outbox.${me}.${this.id}`, []);
    for (const pending of this.outbox) if (pending.state === 'sent') pending.state = 'unsure';
    this.storedFirst = entry.messages.reduce((first, wire) => Math.min(first, instant(wire.created_at)), Infinity);
    this.connect();
  }

  // -- connection
  connect() {
    this.drop();
    this.setStatus('connecting');
    const socket = this.socket = openOldSocket(this.id);
    const guard = setTimeout(() => socket === this.socket && this.lost(), 10_000);
    socket.onmessage = ({ data }) => { clearTimeout(guard); if (socket === this.socket) this.onFrame(data); };
    socket.onclose = ({ code }) => { clearTimeout(guard); if (socket === this.socket) this.lost(code); };
  }
  drop() {
    clearTimeout(this.retryTimer); clearTimeout(this.echoTimer); clearTimeout(this.probeTimer); clearTimeout(this.sureTimer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }
  leave() {
    this.gone = true;
    this.stopTyping();
    const socket = this.socket;
    if (socket?.readyState === WebSocket.CONNECTING) {           // closing it now would count as an error in the browser's console
      this.socket = null;
      socket.onopen = () => socket.close();
    }
    this.drop();
  }
  lost(code) {
    const neverOpened = this.status === 'connecting';
    this.drop();
    if (this.gone) return;
    for (const pending of this.outbox) if (pending.state === 'sent') pending.state = 'unsure';
    if (code === 1009) this.failLongest();
    this.marked = new Set(this.markedForSure);
    for (const name of [...this.typers.keys()]) this.hideTyping(name);
    const wait = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)] * (.75 + Math.random() / 2);
    this.retryTimer = setTimeout(() => this.connect(), wait);
    this.save();
    this.setStatus('waiting');
    if (neverOpened) this.askWhy();
  }
  /* A browser does not say why a handshake was refused; REST knows whether the conversation is still there. */
  async askWhy() {
    try {
      const conversation = await rest.conversation(this.id);
      if (!conversation.is_active) {
        this.close(t('inactive'));
        this.merge(await rest.messages(this.id));
      }
    } catch (refusal) {
      if ([401, 403, 404].includes(refusal.status)) this.close(refusal.message);
    }
  }
  close(why) {
    if (this.status === 'open') return;
    this.drop();
    this.why = why;
    this.setStatus('closed');
  }
  send(frame) { this.socket.send(JSON.stringify(frame)); }
  /* A browser hides pings from the page, so a silent socket is asked to echo something harmless. */
  probe() {
    if (this.status === 'waiting') return this.connect();
    if (this.status !== 'open') return;
    clearTimeout(this.probeTimer);
    this.probeTimer = setTimeout(() => this.lost(), PROBE_WAIT_MS);
    this.send({ type: 'typing', user_id: this.me, is_typing: false });
  }

  // -- frames
  onFrame(text) {
    clearTimeout(this.probeTimer);
    let frame;
    try { frame = JSON.parse(text); } catch { return; }         // the original can send NaN, which is no JSON
    if (frame?.error) return this.onError(String(frame.error));
    if (frame?.type === 'conversation_history') return this.onHistory(frame.messages ?? []);
    if (frame?.type === 'chat_message') return this.onMessage(toOldMessage(frame.message));
    if (frame?.type === 'message_read') return this.onRead(String(frame.message_id), String(frame.user_id));
    if (frame?.type === 'typing_status') return this.onTyping(frame.user_id, frame.is_typing);
  }
  onHistory(list) {
    const known = this.timeline.length;
    const overlaps = list.some((wire) => this.byId.has(String(wire.id)));
    this.merge(list, Infinity);
    if (!this.everOpen) this.serverHasMore = list.length > 0 && this.storedFirst < instant(list[0].created_at);
    this.failures = 0; this.everOpen = true;
    this.setStatus('open');
    if (known && list.length && !overlaps) this.fetchAll();     // a server with a short history limit left a gap
    if (this.outbox.some((pending) => pending.state === 'unsure')) this.sureTimer = setTimeout(() => this.makeSure(), 1_500);
    this.flush();
  }
  /* Takes a list of stored messages as the truth for its span up to `until`: adds what is new, drops what was deleted. */
  merge(list, until) {
    const fresh = list.map(toOldMessage), ids = new Set(fresh.map((message) => message.id));
    const first = fresh[0]?.key ?? 0, last = until ?? fresh.at(-1)?.key ?? 0;
    const kept = this.timeline.filter((message) => !ids.has(message.id) && (message.key < first || message.key > last));
    const all = [...kept, ...fresh.map((message) => this.byId.get(message.id) ?? message)].sort((a, b) => a.key - b.key);
    for (const message of fresh) if (!this.byId.has(message.id)) this.claim(message, (pending) => pending.after < message.key);
    this.timeline = all;
    this.byId = new Map(all.map((message) => [message.id, message]));
    this.changed(this, 'merged');
  }
  /* The history by REST comes whole. */
  more() { return this.fetchAll(); }
  async fetchAll() {
    try { this.merge(await rest.messages(this.id)); this.serverHasMore = false; return true; } catch (refusal) { this.onError(refusal.message); return false; }
  }
  onMessage(message, plausible = () => true) {
    if (this.byId.has(message.id)) return;                       // it was in the history already
    this.claim(message, plausible);
    this.byId.set(message.id, message);
    let at = this.timeline.length;
    while (at > 0 && this.timeline[at - 1].key > message.key) at--;
    this.timeline.splice(at, 0, message);
    this.hideTyping(message.sender);
    this.watchEcho();
    this.changed(this, 'message', message);
  }
  /* Takes messages over from the list of conversations: those sent by REST come on no socket. */
  catchUp(list) {
    if (this.status !== 'open') return;
    const first = this.timeline[0]?.key ?? 0, fresh = list.map(toOldMessage).filter((message) => message.key >= first);
    for (const message of fresh.sort((a, b) => a.key - b.key)) this.onMessage(message, (pending) => pending.after < message.key);
  }
  onRead(id, reader) {
    if (reader === this.me) this.markedForSure.add(id);
    else this.byId.get(id)?.readers.add(reader);
    this.changed(this);
  }
  /* An error does not say which frame it answers; with one message under way there is no doubt. */
  onError(text) {
    const underWay = this.outbox.filter((pending) => pending.state === 'sent');
    if (underWay.length === 1) this.fail(underWay[0], text);
    else this.changed(this, 'error', text);
  }

  // -- sending: a message is sent when it comes back, and not before
  post(content) {
    this.stopTyping();
    this.outbox.push({ uid: `own-${Date.now()}-${Math.random()}`, content, at: Date.now(), after: this.timeline.at(-1)?.key ?? 0, state: 'queued', tries: 0 });
    this.flush();
  }
  flush() {
    if (this.status === 'open') {
      for (const pending of this.outbox) {
        if (pending.state === 'unsure') break;                   // keeps the order: what follows waits for the answer
        if (pending.state !== 'queued') continue;
        pending.state = 'sent'; pending.tries++;
        this.send({ type: 'chat_message', sender_id: this.me, content: pending.content, message_type: 'text' });
      }
      this.watchEcho();
    }
    this.save();
    this.changed(this);
  }
  watchEcho() {
    clearTimeout(this.echoTimer);
    if (!this.outbox.some((pending) => pending.state === 'sent')) return;
    const before = this.socket.bufferedAmount;
    this.echoTimer = setTimeout(() => {
      const left = this.socket.bufferedAmount;
      if (left > 0 && left < before) this.watchEcho(); else this.lost();         // a long text on a slow line is still going out
    }, ECHO_WAIT_MS);
  }
  /* Gives an own message that came back to the pending one it confirms. The protocol has no client ids, so sender and text must
     do, and for one out of the store that it is newer than what was there at the time of writing. One confirms only one. */
  claim(message, plausible) {
    if (message.sender !== this.me) return;
    const fits = (state) => this.outbox.find((pending) => pending.state === state && pending.content === message.content && plausible(pending));
    const pending = fits('sent') ?? fits('unsure') ?? fits('failed');
    if (!pending) return;
    this.outbox.splice(this.outbox.indexOf(pending), 1);
    for (const other of this.outbox) if (other.content === message.content) other.after = Math.max(other.after, message.key);
    message.uid = pending.uid;
    this.save();
  }
  /* After a reconnect the history has spoken, but the old socket's last frame may still be on its way into the store: look once more. */
  async makeSure() {
    if (!await this.fetchAll()) this.sureTimer = setTimeout(() => this.makeSure(), 5_000);
    else if (this.status === 'open') this.sendAgain();
  }
  sendAgain() {
    for (const pending of this.outbox) {
      if (pending.state !== 'unsure') continue;
      if (pending.tries < MAX_TRIES) pending.state = 'queued';
      else this.fail(pending, t('unconfirmed'));
    }
    this.flush();
  }
  failLongest() {
    const unsure = this.outbox.filter((pending) => pending.state === 'unsure');
    const longest = unsure.sort((a, b) => b.content.length - a.content.length)[0];
    if (longest) this.fail(longest, t('too.long'));
  }
  async retry(pending) {
    pending.tries = 0;
    if (this.status === 'open' && !await this.fetchAll()) return;
    if (!this.outbox.includes(pending)) return;                  // it had arrived after all
    pending.state = 'queued';
    this.flush();
  }
  discard(pending) { this.outbox = this.outbox.filter((other) => other !== pending); this.flush(); }
  save() { remember(tab, `outbox.${this.me}.${this.id}`, this.outbox.length ? this.outbox : null); }

  // -- small signals
  tellTyping(on) { this.send({ type: 'typing', user_id: this.me, is_typing: on }); }
  markRead(id) {
    if (this.status !== 'open' || this.marked.has(id)) return;
    this.marked.add(id);
    this.send({ type: 'mark_as_read', message_id: id, user_id: this.me });
  }
}

