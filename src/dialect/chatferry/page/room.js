/* ==== Room: one conversation, its messages, and what is not sent yet, whatever the protocol ================================== */
/* status: connecting → open → waiting (a retry is due) → connecting …, or closed (no use in trying; `why` says it).
   A pending message is queued (not on any socket yet), sent (no answer yet), unsure (its socket died before that) or failed.
   `changed(room, what, detail)` is called for each change; what: message (news), merged (history), deleted,
   counts (of what is not read), error, or nothing. */
class Room {
  timeline = [];                     // messages in their order
  byId = new Map();
  outbox = [];
  typers = new Map();
  lastTyping = 0;
  failures = 0;                      // connections lost since it was open
  everOpen = false;
  serverHasMore = false;             // older messages than the first of the timeline

  constructor(entry, me, changed) {
    Object.assign(this, { id: entry.id, me, peer: entry.peer, place: entry.place, group: entry.group, changed });
  }
  setStatus(status) { this.status = status; this.changed(this); }
  fail(pending, why) { Object.assign(pending, { state: 'failed', why }); this.save(pending); this.changed(this); }
  refreshTimeline() {}
  fill() {}                          // it comes on the screen
  can() { return false; }            // edit, presence, receipts
  isOnline() { return undefined; }   // of the peer; undefined: not known

  // -- who types
  typing() {
    if (this.status !== 'open') return;
    clearTimeout(this.idleTimer);
    this.idleTimer = setTimeout(() => this.stopTyping(), TYPING_IDLE_MS);
    if (Date.now() - this.lastTyping < TYPING_REPEAT_MS) return;
    this.lastTyping = Date.now();
    this.tellTyping(true);
  }
  stopTyping() {
    clearTimeout(this.idleTimer);
    if (this.lastTyping && this.status === 'open') this.tellTyping(false);
    this.lastTyping = 0;
  }
  onTyping(user, on) {
    if (typeof user !== 'string' || user === this.me) return;
    this.hideTyping(user);
    if (on) this.typers.set(user, setTimeout(() => this.hideTyping(user), TYPING_SHOWN_MS));
    this.changed(this);
  }
  hideTyping(user) {
    clearTimeout(this.typers.get(user));
    if (this.typers.delete(user)) this.changed(this);
  }
}

