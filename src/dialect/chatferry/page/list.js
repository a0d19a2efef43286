/* ==== State of the page ===================================================================================================== */
let me = '';
let chat = null;                     // the client of chatferry.v1; null over Django's protocol
let entries = [];                    // conversations, as the server last gave them
const rooms = new Map();             // by conversation id: the one on screen; all that are listed, or those with something to send
let room = null;                     // the one on screen
let seen = {};                       // over Django's protocol: conversation id → instant of the newest message shown here to `me`
let missed = 0;                      // over Django's protocol: messages that came while the page was hidden
let mostRooms = 60;                  // that a socket may be in, but for some to spare

const drawSoon = later(() => { drawChat(); drawList(); drawGroup(); }, 16);

function onRoomChanged(changed, what, detail) {
  if (what === 'message' && detail.sender !== me) {
    if (document.hidden) missed++;
    notify(changed, detail);
    countSoon(changed.id);
  }
  if (what === 'counts') countSoon(changed.id);
  if (what === 'deleted') refreshSoon();
  if (what === 'group') Object.assign(entries.find((entry) => entry.id === changed.id) ?? {}, { group: changed.group, peer: changed.peer });
  if (changed === room) {
    if (what === 'message') onNews(detail);
    if (what === 'error') showNotice(detail);
    if (what === 'merged' && !changed.everOpen) hush();           // it has been asked for, however long it took to come
  } else if (!isNative && !changed.outbox.length && changed.status === 'open') {
    forgetRoom(changed);
  }
  drawSoon();
}
function roomFor(entry, limit = PAGE) {
  if (!rooms.has(entry.id)) {
    rooms.set(entry.id, isNative ? new NativeRoom(entry, me, onRoomChanged, chat, limit) : new OldRoom(entry, me, onRoomChanged));
  }
  return rooms.get(entry.id);
}
function forgetRoom(left) {
  left.leave();
  rooms.delete(left.id);
}

/* ==== Conversation list ===================================================================================================== */
const listNodes = new Map();
let listTimer, listProblem = '', listLoaded = false, listAsked = 0, listWanted = LIST_PAGE, listHasMore = false;

async function readEntries() {
  try {
    if (chat?.can('conversations')) return await readPages();
  } catch (error) {
    if (chat?.can('conversations')) throw error;                 // else an older server has said that it does not know the request
  }
  const all = (await rest.conversations(me)).map((wire) => toOldEntry(wire, me));
  if (chat) {
    const counts = await chat.unread(all.map((entry) => entry.id));
    for (const entry of all) entry.unread = counts.get(entry.id) ?? 0;
  }
  return all;
}
async function readPages() {
  const all = [];
  let after;
  do {
    const page = await chat.conversations({ after, limit: LIST_PAGE });
    all.push(...page.conversations.map((wire) => toEntry(wire, me)));
    after = page.next ?? undefined;
  } while (after && all.length < listWanted);
  listHasMore = after !== undefined;
  return all;
}
async function refreshList() {
  clearTimeout(listTimer);
  if (isNative && !chat?.isOpen) return;                         // the list is read when it is
  const asked = ++listAsked, began = performance.now();
  try {
    const answer = await readEntries();
    if (asked !== listAsked) return;                             // a later answer is newer, whichever comes first
    const known = new Set(entries.map((entry) => entry.id)), isFirst = !listLoaded;
    entries = answer; listLoaded = true; listProblem = '';
    keepRooms();
    for (const entry of isFirst ? [] : entries) if (entry.unread && !known.has(entry.id)) notify(entry, entry.last);
  } catch (error) {
    if (asked !== listAsked) return;
    listProblem = t('list.problem', { why: reason(error) });
  }
  // Over Django's protocol the answer holds every message of every conversation: the slower it is, the less often it is asked for.
  clearTimeout(listTimer);
  listTimer = setTimeout(() => { if (!document.hidden || chat?.can('conversations')) refreshList(); }, Math.max(LIST_REFRESH_MS, 20 * (performance.now() - began)));
  drawSoon();
}
const refreshSoon = later(refreshList, 50);      // focus and visibility tend to come together

/* Over chatferry.v1 all that is listed is live, up to what a socket may be in; over Django's protocol what has something to send. */
function keepRooms() {
  const live = new Set(entries.slice(0, mostRooms).map((entry) => entry.id));
  for (const each of [...rooms.values()]) if (isNative && each !== room && !live.has(each.id) && !each.outbox.length) forgetRoom(each);
  for (const entry of entries) {
    const hasUnsent = isNative ? unsentOf(unsentKey(me, entry.id)).length : recall(tab, `outbox.${me}.${entry.id}`);
    if (hasUnsent || (isNative && live.has(entry.id))) roomFor(entry, Math.min((entry.unread ?? 0) + 1, PAGE));
    const known = rooms.get(entry.id);
    if (!isNative) known?.catchUp(entry.messages);
    else if (known) {
      known.unread = entry.unread;
      if (entry.last && known.status === 'open' && !known.byId.has(entry.last.id)) known.catchUp();
    }
  }
}
/* What is not read is for the server to say: it knows of the user's other devices too. */
const uncounted = new Set();
function countSoon(id) {
  if (!isNative) return;
  uncounted.add(id);
  countNow();
}
const countNow = later(async () => {
  const ids = [...uncounted];
  uncounted.clear();
  try {
    for (const [id, unread] of await chat.unread(ids)) {
      if (rooms.has(id)) rooms.get(id).unread = unread;
      const entry = entries.find((each) => each.id === id);
      if (entry) entry.unread = unread;
    }
    if (ids.some((id) => !entries.some((entry) => entry.id === id))) refreshSoon();
  } catch { /* without a connection: the list is read anew with the next one */ }
  drawSoon();
}, 300);

function summary(entry) {
  const live = rooms.get(entry.id);
  live?.refreshTimeline();
  const lastLive = live?.timeline.at(-1);
  const last = lastLive && (isNative || lastLive.key >= (entry.last?.key ?? 0)) ? lastLive : entry.last;
  const isWatched = live !== undefined && live === room && !document.hidden && pinned;
  const unread = entry.unread === null ? null : isWatched ? 0 : live?.unread ?? entry.unread;
  const isFresh = unread === null ? Boolean(last) && last.sender !== me && last.key > (seen[entry.id] ?? 0) : unread > 0;
  return { entry, last, unread, isFresh, isOnline: live?.isOnline() === true, unsent: live?.outbox.length ?? 0, key: last?.key ?? entry.created };
}
function drawList() {
  const filter = cleanName($('find-name').value).toLowerCase();
  const items = entries.map(summary).sort((a, b) => b.key - a.key);
  const shown = items.filter(({ entry }) => entry.peer.toLowerCase().includes(filter));
  arrange($('list'), shown.map(drawEntry));
  const isCut = isNative && chat?.state === 'waiting' && !listLoaded;
  setText($('list-problem'), isCut ? t('list.problem', { why: t('unreachable') }) : listProblem);
  const empty = !listLoaded ? '' : !items.length ? t('list.empty') : !shown.length ? t('list.none') : '';
  setText($('list-empty'), empty);
  $('list-empty').hidden = !empty;
  const count = isNative ? items.reduce((sum, item) => sum + (item.unread ?? 0), 0) : missed;
  document.title = `${count ? `(${count}) ` : ''}${room ? `${room.peer} · ` : ''}${t('app')}`;
}
function drawEntry({ entry, last, unread, isFresh, isOnline, unsent }) {
  const { peer, place } = entry;
  if (!listNodes.has(entry.id)) {
    const made = clone('conversation-template');
    made.querySelector('a').addEventListener('click', (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;      // a new window is the browser's business
      event.preventDefault();
      visit(place);
    });
    listNodes.set(entry.id, made);
  }
  const node = listNodes.get(entry.id), link = node.querySelector('a'), part = (name) => node.querySelector(name);
  const address = pageAddress(me, place);
  if (link.getAttribute('href') !== address) link.href = address;
  if (room?.id === entry.id) link.setAttribute('aria-current', 'page'); else link.removeAttribute('aria-current');
  link.classList.toggle('fresh', isFresh);
  part('.dot').hidden = !isFresh;
  part('.dot').classList.toggle('counts', unread !== null);
  setText(part('.dot [aria-hidden]'), unread === null ? '' : unread > 99 ? '99+' : String(unread));
  setText(part('.dot .unseen'), unread === null ? t('new') : t('unread', { count: unread }));
  part('.online').hidden = !isOnline || place.with === me;
  paintAvatar(part('.avatar'), peer);
  setText(part('.name'), place.with === me ? t('yourself', { name: peer }) : peer);
  const text = last && briefText(last);
  part('.preview').classList.toggle('unsent', unsent > 0);
  setText(part('.preview'), unsent ? t('unsent', { count: unsent }) : !last ? t('empty.preview') : last.sender === me ? t('you', { text }) : text);
  setText(part('time'), last ? briefTime(last.date) : '');
  return node;
}
$('list').addEventListener('scroll', () => {
  const list = $('list');
  if (!listHasMore || list.scrollHeight - list.scrollTop - list.clientHeight > 300) return;
  listHasMore = false;
  listWanted += LIST_PAGE;
  refreshList();
}, { passive: true });

/* ==== Notifications: of what comes while the page is not looked at, for those who asked for them ============================= */
const mayNotify = () => globalThis.Notification?.permission;
function notify(from, message) {
  if (!document.hidden || mayNotify() !== 'granted') return;
  try {
    const note = new Notification(from.peer, { body: briefText(message), tag: from.id });
    note.addEventListener('click', () => { focus(); visit(from.place); note.close(); });
  } catch { /* phones want a service worker for it, which this page has not */ }
}
function drawNotify() { $('notify').hidden = mayNotify() !== 'default'; }
$('notify').addEventListener('click', async () => {
  await Notification.requestPermission();
  drawNotify();
  $('switch').focus();
});

