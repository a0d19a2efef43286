/* ==== Chat: header, log, typing ============================================================================================= */
const messageNodes = new Map();      // by uid; an own message keeps its node when its echo arrives
let limit = PAGE, pinned = true, lastTop = 0, unseenBelow = 0;

function drawChat() {
  for (const id of ['chat-bar', 'scroll', 'typing', 'composer', 'foot']) $(id).hidden = !room;
  $('attach').hidden = !canAttach();
  $('search-all').hidden = $('search-room').hidden = !canSearch();
  $('nobody').hidden = Boolean(room);
  $('skip').hidden = !room;
  if (!room) { for (const id of ['trouble', 'notice', 'to-end', 'context']) $(id).hidden = true; return; }
  room.refreshTimeline();
  setText($('peer'), room.place.with === me ? t('yourself', { name: room.peer }) : room.peer);
  drawPresence();
  paintAvatar($('peer-avatar'), room.peer);
  $('state').dataset.state = room.status;
  setText($('state'), room.status === 'open' ? t('connected', { name: me }) : t(room.status));
  $('composer').hidden = $('hint').hidden = room.status === 'closed';
  drawTrouble();
  drawLog();
  drawTyping();
  markVisibleSoon();
}
function drawPresence() {
  if (room.group) {
    $('presence').hidden = false;
    $('presence').dataset.state = 'group';
    setText($('presence'), t(room.group.members.length === 1 ? 'members.one' : 'members.count', { count: room.group.members.length }));
    return;
  }
  const isOnline = room.peer === me ? undefined : room.isOnline();
  $('presence').hidden = isOnline === undefined;
  $('presence').dataset.state = isOnline ? 'online' : 'offline';
  setText($('presence'), isOnline ? t('online') : t('offline'));
}
function drawTrouble() {
  const down = room.status === 'waiting' || (room.status === 'connecting' && room.failures > 0);
  const text = room.status === 'closed' ? room.why : down ? t('lost') : '';
  setText($('trouble').firstElementChild, text);
  $('trouble').hidden = !text;
  $('retry-now').hidden = room.status === 'closed';
}
function drawLog() {
  noteScroll();
  const shown = room.timeline.slice(-limit), wanted = [], line = newFrom();
  let before = null;
  for (const message of shown) {
    if (!before || dayNumber(before.date) !== dayNumber(message.date)) { wanted.push(dayNode(message.date)); before = null; }
    if (message.id === line) { wanted.push(lineNode()); before = null; }
    wanted.push(messageNode(message, before));
    before = message;
  }
  for (const pending of room.outbox) if (!room.byId.has(pending.uid)) wanted.push(pendingNode(pending));
  const kept = new Set(wanted);
  for (const [uid, node] of messageNodes) if (!kept.has(node)) messageNodes.delete(uid);
  arrange($('messages'), wanted);
  keepOneStop();
  $('earlier').hidden = shown.length === room.timeline.length && !room.serverHasMore;
  drawEmpty((room.everOpen || room.status === 'closed') && !wanted.length);
  if (pinned) scrollLog($('log').scrollHeight);
  drawToEnd();
}
/* The first message that was not read when the chat came on the screen, or while nobody looked at it: a line stands above it. */
function newFrom() {
  if (room.newAt !== undefined || !room.everOpen) return room.newAt;
  const others = room.timeline.filter((message) => message.sender !== me);
  if (room.newCount === null) {                                  // over Django's protocol
    room.newAt = room.newSince ? others.find((message) => message.key > room.newSince)?.id ?? null : null;
  } else if (room.newCount <= others.length || !room.serverHasMore) {
    room.newAt = room.newCount ? others.at(-room.newCount)?.id ?? others[0]?.id ?? null : null;
  }
  return room.newAt;
}
function onNews(message) {
  if (message.sender === me) { room.newAt = null; return; }
  if (document.hidden && !room.newAt) room.newAt = message.id;
  if (pinned) return;
  limit++;
  unseenBelow++;
}
function lineNode() {
  if (!messageNodes.has('line')) messageNodes.set('line', clone('line-template'));
  return messageNodes.get('line');
}
function dayNode(date) {
  const uid = `day-${dayNumber(date)}`;
  if (!messageNodes.has(uid)) messageNodes.set(uid, clone('day-template'));
  const node = messageNodes.get(uid);
  setText(node.firstElementChild, dayName(date));
  return node;
}
function newMessageNode(uid, { content, sender, kind, files = [] }) {
  const node = clone('message-template'), mine = sender === me, from = node.querySelector('.from');
  node.classList.toggle('mine', mine);
  setText(from, mine ? t('from.me') : t('from', { name: sender }));
  if (mine || sender === room.place.with) from.classList.add('unseen');   // in a talk of two the side says it to the eye
  fillBubble(node, content);
  node.querySelector('.whole').addEventListener('click', () => fillBubble(node, node.content, Infinity));
  drawFiles(node.querySelector('.files'), files);
  if (kind !== 'text' && !files.length) { node.querySelector('.kind').hidden = false; setText(node.querySelector('.kind'), String(kind)); }
  messageNodes.set(uid, node);
  return node;
}
function fillBubble(node, content, most = LONG) {
  const { quote, rest } = splitQuote(content), text = node.querySelector('.text');
  node.content = content;
  node.querySelector('.quote').hidden = !quote;
  setText(node.querySelector('.quote'), quote.slice(0, LONG));
  fillText(text, rest.slice(0, most));
  text.lang = /\p{Script=Hangul}/u.test(rest) ? 'ko' : '';        // for the voice that reads it, and for line breaks
  node.querySelector('.whole').hidden = rest.length <= most;
}
function messageNode(message, before) {
  const node = messageNodes.get(message.uid) ?? newMessageNode(message.uid, message);
  const time = node.querySelector('time');
  node.dataset.id = message.id;
  node.classList.remove('pending', 'failed');
  node.classList.toggle('joined', Boolean(before) && before.sender === message.sender && message.date - before.date < JOIN_MS);
  node.querySelector('.choices').hidden = true;
  setText(time, Number.isNaN(+message.date) ? '' : clock.format(message.date));
  if (!time.dateTime && time.textContent) { time.dateTime = message.date.toISOString(); time.title = fullTime.format(message.date); }
  if (node.content !== message.content) fillBubble(node, message.content);
  node.querySelector('.edited').hidden = !message.isEdited;
  drawTicks(node.querySelector('.ticks'), message);
  return node;
}
function drawTicks(ticks, message) {
  const readers = [...message.readers].join(', '), receivers = [...message.receivers].join(', ');
  const state = readers ? 'read' : receivers ? 'delivered' : 'sent';
  ticks.hidden = message.sender !== me;
  ticks.dataset.state = state;
  ticks.title = t(state, { name: readers || receivers });
  setText(ticks.lastElementChild, ticks.title);
}
function pendingNode(pending) {
  const state = pending.state === 'sent' || (pending.state === 'queued' && room.status === 'open') ? 'sending' : pending.state;
  let node = messageNodes.get(pending.uid);
  if (!node) {
    const owner = room;
    node = newMessageNode(pending.uid, { ...pending, sender: me, kind: 'text' });
    node.querySelector('.retry').addEventListener('click', () => { owner.retry(pending); $('text').focus(); });
    node.querySelector('.discard').addEventListener('click', () => { owner.discard(pending); $('text').focus(); });
  }
  const stuck = state === 'failed', offline = state === 'queued';
  node.classList.add('pending');
  node.classList.toggle('failed', stuck);
  node.querySelector('.choices').hidden = !stuck && !offline;
  node.querySelector('.retry').hidden = !stuck;
  setText(node.querySelector('.problem'), stuck ? pending.why ?? '' : '');
  setText(node.querySelector('time'), t(state));
  return node;
}
function drawEmpty(empty) {
  $('log-empty').hidden = !empty;
  if (!empty) return;
  setText($('log-empty').firstElementChild, room.status === 'closed' ? t('empty')
    : room.place.with === me ? t('empty.self') : t(room.group ? 'empty.group' : 'empty.chat', { name: room.peer }));
  $('second').hidden = Boolean(room.group) || room.peer === me || room.status === 'closed' || knownBy !== 'none';
  const link = $('second').querySelector('a');
  setText(link, t('second', { name: room.peer }));
  link.href = pageAddress(room.peer, { with: me });
}
function drawToEnd() {
  $('to-end').hidden = pinned;
  setText($('to-end').lastElementChild, unseenBelow ? t('news', { count: unseenBelow }) : t('latest'));
}
function drawTyping() {
  const names = [...room.typers.keys()];
  const text = names.length ? t(names.length > 1 ? 'typing.many' : 'typing.one', { name: names.join(', ') }) : '';
  if ($('typing').textContent === text) return;
  $('typing').textContent = '';
  if (text) $('typing').append(Object.assign(document.createElement('span'), { className: 'cut', dir: 'auto', textContent: text }));
}
function showNotice(text) {
  $('notice').hidden = false;
  setText($('notice').firstElementChild, text);
}
/* A message of someone else counts as read when its end has stood on the screen for a moment. */
const markVisibleSoon = later(markVisible, DWELL_MS);
function markVisible() {
  if (!room || document.hidden || room.status !== 'open' || !$('log').clientHeight) return;
  const frame = $('log').getBoundingClientRect(), nodes = [...$('messages').children].reverse();
  for (const node of nodes) {
    const message = room.byId.get(node.dataset.id), box = node.getBoundingClientRect();
    if (box.bottom < frame.top) break;
    if (!message || box.bottom > frame.bottom + 4) continue;
    if (message.sender !== me) room.markRead(message.id);
    if (message.key > (seen[room.id] ?? 0)) { seen[room.id] = message.key; remember(browser, `seen.${me}`, seen); drawSoon(); }
  }
}
/* Long stretches of old messages must not be read out: only what comes in afterwards is news. */
let hushTimer;
function hush() {
  $('log').setAttribute('aria-live', 'off');
  clearTimeout(hushTimer);
  hushTimer = setTimeout(() => $('log').setAttribute('aria-live', 'polite'), 500);
}
function quietly(work) {
  hush();
  work();
}
let isShowingEarlier = false;
async function showEarlier() {
  if (isShowingEarlier) return;
  isShowingEarlier = true;
  const log = $('log'), asked = room;
  if (room.timeline.length < limit + PAGE && room.serverHasMore) await room.more();
  isShowingEarlier = false;
  if (room !== asked) return;
  // Not before: the log may have moved meanwhile.
  const fromEnd = log.scrollHeight - log.scrollTop, hadFocus = document.activeElement === $('earlier');
  noteScroll();
  pinned = false; limit += PAGE;
  quietly(drawLog);
  scrollLog(log.scrollHeight - fromEnd);
  if (hadFocus && $('earlier').hidden) log.focus({ preventScroll: true });
}
function toEnd() {
  pin(); limit = PAGE;
  drawLog();
}
function pin() {
  pinned = true; unseenBelow = 0;
  lastTop = $('log').scrollTop;
}
function scrollLog(top) {
  $('log').scrollTop = top;
  lastTop = $('log').scrollTop;
}
/* The event of a scroll comes after it, and a redraw may come in between: it must not take the reader back to the end. */
function noteScroll() {
  const log = $('log');
  if (log.scrollTop === lastTop || !log.clientHeight) return;
  lastTop = log.scrollTop;
  pinned = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  if (pinned) { unseenBelow = 0; limit = PAGE; }
}
$('log').addEventListener('scroll', () => {
  const from = lastTop;
  noteScroll();
  if (room && !$('earlier').hidden && $('log').scrollTop < Math.min(from, 100)) showEarlier();
  if (room) drawToEnd();
  markVisibleSoon();
}, { passive: true });
new ResizeObserver(() => { if (room && pinned) scrollLog($('log').scrollHeight); }).observe($('log'));
$('earlier').addEventListener('click', showEarlier);
$('to-end').addEventListener('click', () => { toEnd(); $('text').focus(); });
$('retry-now').addEventListener('click', () => { room?.connect(); $('text').focus(); });
$('dismiss').addEventListener('click', () => { $('notice').hidden = true; $('text').focus(); });

