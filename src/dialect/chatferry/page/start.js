/* ==== Going from place to place: the address holds who I am and whom I talk to ============================================== */
/* The server tells who I am, over chatferry.v1 and where it wants to know. */
const isTold = isNative && knownBy !== 'none';
function pageAddress(who, place) {
  const query = new URLSearchParams({ ...(!isTold && { me: who }), ...place }).toString();
  return location.pathname + (query && `?${query}`);
}
/* A place is {with: the other's name}, or {group: its id}; null for none. */
function placeInAddress() {
  const query = new URLSearchParams(location.search), group = query.get('group'), peer = cleanName(query.get('with'));
  if (group && isNative) return { group };
  return peer && !nameProblem(peer) ? { with: peer } : null;
}
const peerInAddress = () => placeInAddress()?.with ?? '';
const isAt = (one, other) => Boolean(one && other) && one.with === other.with && one.group === other.group;
function visit(place) {
  if (isAt(room?.place, place)) return showPane('chat', true);
  history.pushState({ inside: true }, '', pageAddress(me, place));
  return openPlace(place, true);
}
async function openPlace(place, focus) {
  leaveRoom();
  drawSoon();
  const asked = me;
  try {
    const known = entries.find((entry) => isAt(entry.place, place)), entry = known ?? await openEntry(place);
    if (asked !== me || !isAt(placeInAddress(), place)) return;
    if (!known) refreshList();
    enterRoom(entry, focus);
  } catch (error) {
    if (asked !== me) return;
    listProblem = t('open.problem', { name: place.with ?? t('group'), why: reason(error) });
    showPane('list', focus);
    drawSoon();
  }
}
/* Makes the conversation if there is none. Without a connection it waits for one. */
async function openEntry({ with: peer, group }) {
  if (chat && !chat.isOpen) await new Promise((resolve) => { const off = chat.on('open', () => { off(); resolve(); }); });
  if (group) return findGroup(group);
  try {
    if (chat?.can('conversations')) return toEntry(await chat.open(peer), me);
  } catch (error) {
    if (chat?.can('conversations')) throw error;
  }
  const entry = toOldEntry(await rest.create(me, peer), me);
  if (chat) entry.unread = (await chat.unread([entry.id])).get(entry.id) ?? 0;
  return entry;
}
/* The list has it, on one of its pages; a group that is not there is somebody else's. */
async function findGroup(id) {
  for (let next; next !== null;) {
    const page = await chat.conversations({ after: next, limit: LIST_PAGE }), wire = page.conversations.find((each) => each.id === id);
    if (wire) return toEntry(wire, me);
    next = page.next;
  }
  throw new Error(t('error.no_conversation'));
}
function enterRoom(entry, focus) {
  room = roomFor(entry);
  if (room.status === 'waiting') room.connect();
  room.newAt = undefined;
  room.newCount = isNative ? room.unread ?? 0 : null;
  room.newSince = seen[room.id] ?? 0;
  pin(); limit = PAGE;
  messageNodes.clear();
  $('log').setAttribute('aria-label', t(room.group ? 'log.group' : 'log.label', { name: room.peer }));
  $('text').setAttribute('aria-label', t(room.group ? 'text.group' : 'text.label', { name: room.peer }));
  $('text').placeholder = t('text');
  $('notice').hidden = true;
  $('text').value = recall(browser, `draft.${me}.${room.id}`, '');
  room.fill();
  quietly(() => showPane('chat', focus));
  fitText();
}
/* Over Django's protocol a room with unsent messages lives on in the background until they are out; over chatferry.v1 each does. */
function leaveRoom() {
  if (!room) return;
  const left = room;
  endContext();
  closeMenu();
  clearUploads();
  room = null;
  left.isShown = false;
  left.stopTyping();
  if (isNative ? rooms.size > mostRooms : !left.outbox.length) forgetRoom(left);
}
function showPane(pane, focus) {
  $('app').dataset.pane = pane;
  drawChat(); drawList();
  if (!focus) return;
  if (pane === 'list') ($('list').querySelector('a') ?? $('find-name')).focus();
  else if (matchMedia('(pointer: coarse)').matches) $('peer').focus();          // no keyboard popping up unasked
  else $('text').focus();
}
function goBack() {
  const left = room?.id;
  if (history.state?.inside) { history.back(); return; }
  history.replaceState(null, '', pageAddress(me));
  leaveRoom();
  showPane('list', false);
  (listNodes.get(left)?.querySelector('a') ?? $('find-name')).focus();
}
/* Reads the address: at the start, and when the browser goes back or forth. */
function route(event) {
  takeToken();
  const query = new URLSearchParams(location.search), place = placeInAddress(), peer = place?.with ?? '';
  const who = knownBy === 'jwt' ? claimed() : isTold ? me : cleanName(query.get('me') ?? recall(browser, 'me', ''));
  if ((nameProblem(who) && !(isTold && !who)) || (wantsToken && !token)) return askWho(who, peer);
  if (who !== me || (isTold && !chat)) becomeUser(who);
  $('welcome').hidden = true; $('app').hidden = false;
  if (!who) return showPane('list', false);                      // the server's hello leads here again
  if (!isTold && !query.get('me')) history.replaceState(history.state, '', pageAddress(who, place));
  if (place) { if (!isAt(room?.place, place)) openPlace(place, true); return; }
  const left = room?.id;
  leaveRoom();
  showPane('list', false);
  if (event) (listNodes.get(left)?.querySelector('a') ?? $('find-name')).focus();
  else if (!matchMedia('(pointer: coarse)').matches) $('find-name').focus();
}
function forgetUser() {
  leaveRoom();
  for (const other of rooms.values()) other.leave();
  rooms.clear(); listNodes.clear(); messageNodes.clear();
  const client = chat;
  chat = null;
  client?.close();
  files = null;
  me = ''; entries = []; listLoaded = false; listProblem = ''; listWanted = LIST_PAGE; missed = 0;
}
function becomeUser(who) {
  forgetUser();
  setUser(who);
  if (isNative) connectChat();
  else refreshList();
}
function setUser(who) {
  me = who;
  seen = recall(browser, `seen.${me}`, {});
  setText($('me-name'), me);
  paintAvatar($('me-avatar'), me);
}
function connectChat() {
  const sender = knownBy === 'none' ? me : undefined;
  const client = chat = new ChatClient(socketAddress('').href, { sender, query: tokenQuery, protocols: tokenProtocols });
  let failures = 0, hasOpened = false;
  client.on('open', ({ user, limits }) => {
    failures = 0;
    hasOpened = true;
    mostRooms = Math.max(1, limits.subscriptions - 4);
    if (isTold && user !== me) { setUser(user); route(); }
    refreshList();
  });
  client.on('lost', async () => {
    failures += 1;
    if (failures % 3 === 0 && await isNativeNoMore()) return location.reload();
    if (!hasOpened && client === chat) askWhyNot();
  });
  client.on('closed', ({ code }) => { if (client === chat && code === 'denied' && isTold) onDenied(t('ended')); });
  client.on('membership', refreshSoon);
  client.on('state', drawSoon);
}
/* A browser does not say why a handshake was refused; REST does. */
async function askWhyNot() {
  if (!isTold) return;
  try { await rest.conversations(me || '-'); } catch (refusal) {
    if ([401, 403].includes(refusal.status) && chat) onDenied(identity.login ? '' : refusal.message);
  }
}
/* The server no longer takes the token or the session, or never did. */
function onDenied(why) {
  const who = me;
  keepToken('');
  forgetUser();
  askWho(who, peerInAddress());
  setText($('who-problem'), why);
}
function askWho(who, peer) {
  $('app').hidden = true; $('welcome').hidden = false;
  $('who-token').value = token; $('who-me').value = who; $('who-with').value = peer;
  $('who-token-row').hidden = !wantsToken;
  $('who-me-row').hidden = knownBy === 'jwt' || isTold;
  if (knownBy !== 'none') {
    setText($('who-lead'), t(wantsToken ? 'lead.token' : 'lead.session'));
    setText($('who-note'), t(wantsToken ? 'note.token' : isTold ? 'note.again' : 'note.session'));
  }
  const login = loginAddress();
  $('who-login').hidden = !login;
  // Over chatferry.v1 there is nothing else to say: the way back leads to the same place.
  $('who-with-row').hidden = $('who-continue').hidden = Boolean(login && isTold);
  if (login) {
    $('who-login').href = login;
    setText($('who-note'), t('note.login'));
  }
  $('who-cancel').hidden = !me;
  setText($('who-problem'), '');
  document.title = t('app');
  const first = wantsToken ? $('who-token') : login ? $('who-login') : isTold ? $('who-with') : $('who-me');
  first.focus();
  first.select?.();
}
/* Where Django's users sign in, to come back to this place; empty if the server does not say. */
function loginAddress() {
  if (!identity.login) return '';
  const next = new URLSearchParams({ next: location.pathname + location.search });
  return `${identity.login}${identity.login.includes('?') ? '&' : '?'}${next}`;
}
$('who').addEventListener('submit', (event) => {
  event.preventDefault();
  const given = $('who-token').value.trim(), isFresh = wantsToken && given !== token;
  if (wantsToken) keepToken(given);
  const who = knownBy === 'jwt' ? claimed() : isTold ? '' : cleanName($('who-me').value), peer = cleanName($('who-with').value);
  if (wantsToken && (!token || !who && knownBy === 'jwt')) {
    setText($('who-problem'), t(token ? 'token.bad' : 'token.missing'));
    $('who-token').focus();
    return;
  }
  const problem = (isTold ? '' : nameProblem(who)) || (peer && nameProblem(peer));
  setText($('who-problem'), problem);
  $('who-me').setAttribute('aria-invalid', String(Boolean(nameProblem(who))));
  if (problem) { (!isTold && nameProblem(who) ? $('who-me') : $('who-with')).focus(); return; }
  if (isFresh) forgetUser();
  if (!isTold) remember(browser, 'me', who);
  history.pushState(null, '', pageAddress(who, peer && { with: peer }));
  route();
});
$('who-cancel').addEventListener('click', () => { $('welcome').hidden = true; $('app').hidden = false; drawSoon(); $('switch').focus(); });
$('switch').addEventListener('click', () => askWho(me, ''));
$('back').addEventListener('click', goBack);
$('find-name').addEventListener('input', () => { listProblem = ''; drawList(); });
$('find').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = cleanName($('find-name').value), problem = nameProblem(name);
  listProblem = problem;
  drawList();
  if (problem) { $('find-name').focus(); return; }
  $('find-name').value = '';
  visit({ with: name });
});
$('list').addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], links = [...$('list').querySelectorAll('a')];
  if (!step) return;
  event.preventDefault();
  links[links.indexOf(document.activeElement) + step]?.focus();
});
$('skip').addEventListener('click', (event) => { event.preventDefault(); $('text').focus(); });

/* ==== Start, and what the browser tells us ================================================================================== */
document.addEventListener('visibilitychange', () => {
  if (document.hidden || !me) return;
  missed = 0;
  probe();
  look();
  drawSoon();
});
addEventListener('focus', () => { if (me) look(); });
function probe() {
  chat?.wake();
  for (const each of rooms.values()) each.probe();
}
function look() {
  refreshSoon();
  if (isNative && room?.status === 'open') room.catchUp();
}
for (const change of ['online', 'offline']) addEventListener(change, probe);
/* Over chatferry.v1 what is not sent is kept beyond the tab. */
addEventListener('beforeunload', (event) => { if (!isNative && [...rooms.values()].some((each) => each.outbox.length)) event.preventDefault(); });
addEventListener('popstate', route);

localize(document);
for (const template of document.querySelectorAll('template')) localize(template.content);
drawNotify();
route();

/* For a look from the browser's console, and for the tests. */
globalThis.chatferry = { get room() { return room; }, get chat() { return chat; }, isNative, fillText, showNotice };
