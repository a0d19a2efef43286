/* ==== Protocol: REST and the socket's address =============================================================================== */
class Refusal extends Error {
  constructor(status, text) { super(text); this.status = status; }
}
/* Errors come as {"error"}, as {"detail"}, or as one list of texts per field. */
function refusalText(answer, status) {
  if (answer?.error ?? answer?.detail) return String(answer.error ?? answer.detail);
  if (answer && typeof answer === 'object') return Object.entries(answer).map(([field, texts]) => `${field}: ${texts}`).join(' ');
  return t('answered', { status });
}
/* What the server knows callers by: nothing, a session of Django's, or a token. A token is typed in, or comes in the fragment of the
   address (#token=…), which a browser sends to nobody; it is kept until the tab is closed. */
const identity = document.querySelector('meta[name="chat-identity"]').dataset, knownBy = said('chat-identity');
const wantsToken = knownBy === 'jwt' || knownBy === 'django_token';
let token = wantsToken ? recall(tab, 'token', '') : '';
function keepToken(given) {
  token = given;
  remember(tab, 'token', given || null);
}
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!wantsToken || !given) return;
  keepToken(given);
  history.replaceState(history.state, '', location.pathname + location.search);
}
/* The user that a signed token names. Whether it is good is for the server to say. */
function claimed() {
  try {
    const bytes = atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
    const user = claims[identity.claim];
    return ['string', 'number'].includes(typeof user) ? String(user) : '';
  } catch { return ''; }
}
/* What Django's middleware wants with whatever changes something for a user known by a session, if Django gave the browser one. */
const csrfToken = () => document.cookie.split('; ').find((cookie) => cookie.startsWith('csrftoken='))?.slice('csrftoken='.length);
async function ask(method, path, body) {
  let response;
  try {
    const csrf = body && csrfToken();
    response = await fetch(said('chat-url-prefix') + path, {
      method, cache: 'no-store', signal: AbortSignal.timeout(20_000), body: body && JSON.stringify(body),
      headers: { Accept: 'application/json', ...(body && { 'Content-Type': 'application/json' }), ...(csrf && { 'X-CSRFToken': csrf }),
        ...(token && { Authorization: `${identity.word} ${token}` }) },
    });
  } catch { throw new Refusal(0, t('unreachable')); }
  const answer = await response.json().catch(() => null);
  if (response.status === 401 && wantsToken) onDenied(refusalText(answer, response.status));
  if (!response.ok || answer === null) throw new Refusal(response.status, refusalText(answer, response.status));
  return answer;
}
const rest = {
  conversations: (user) => ask('GET', `users/${encodeURIComponent(user)}/conversations/`),
  conversation: (id) => ask('GET', `conversations/${id}/`),
  messages: (id) => ask('GET', `conversations/${id}/messages/`),
  create: (one, two) => ask('POST', 'conversations/', { participant1_id: one, participant2_id: two }),
};
/* A browser can send a socket's token as a subprotocol or in the query only. */
const tokenProtocols = () => token && identity.protocol ? [identity.protocol, token] : [];
const tokenQuery = () => token && !identity.protocol && identity.query ? new URLSearchParams({ [identity.query]: token }).toString() : '';
function socketAddress(path) {
  const url = new URL(said('chat-ws-prefix') + path, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url;
}
function openOldSocket(id) {
  const url = socketAddress(`${id}/`);
  url.search = tokenQuery();
  return new WebSocket(url, tokenProtocols());
}
/* True if the server speaks chatferry.v1. */
const isNative = said('chat-native') === 'true';
/* The server may have gone back to a version without it under a page that stays open: true if its page no longer says so. */
async function isNativeNoMore() {
  try {
    const page = await (await fetch(location.pathname, { cache: 'no-store' })).text();
    // At the beginning of a line: these words are in the script of the page, too.
    return /^<meta name="chat-url-prefix"/m.test(page) && !/^<meta name="chat-native" content="true">/m.test(page);
  } catch { return false; }
}
/* A name must fit into a path segment: the server decodes %2F before it looks at the path, and "." and ".." never leave a browser. */
function nameProblem(name) {
  if (!name) return t('name.missing');
  if (name.includes('/')) return t('name.slash');
  if (name === '.' || name === '..') return t('name.dots');
  return '';
}
const cleanName = (text) => wellFormed(text ?? '').trim();
const sameName = (one, two) => one.toLowerCase() === two.toLowerCase();       // some databases compare names so
/* The other one of two members; in a talk with oneself, oneself. */
function peerOf([one, two], me) {
  if (one === me) return two ?? one;
  if (two === me) return one;
  return sameName(one, me) ? two : one;
}
/* A message as the page holds it. Its uid is that of its node: an own message keeps it from the outbox on. */
function toMessage({ id, sender, content, kind, attachments, created_at, updated_at }) {
  const date = new Date(created_at);
  // Django dates the two by two clocks readings.
  const isEdited = updated_at !== undefined && instant(updated_at) - instant(created_at) > 1_000_000;
  return { id, uid: id, sender, content, kind, files: attachments ?? [], date, key: instant(created_at), isEdited, version: 0, readers: new Set(), receivers: new Set() };
}
const toOldMessage = (wire) => toMessage({
  id: String(wire.id), sender: String(wire.sender_id), content: String(wire.content), kind: wire.message_type, created_at: wire.created_at,
});
/* The name over a conversation, and the place in an address that leads to it. */
function placed({ id, group, members }, me) {
  if (group) return { peer: group.name, place: { group: id } };
  const peer = peerOf(members, me);
  return { peer, place: { with: peer } };
}
/* An entry of the list of conversations. `unread` is null where only this browser knows what it has shown. */
const toEntry = (wire, me) => ({
  id: wire.id, group: wire.group, ...placed(wire, me), created: instant(wire.created_at), last: wire.last && toMessage(wire.last), unread: wire.unread, messages: [],
});
const toOldEntry = (wire, me) => ({
  id: wire.id, ...placed({ members: [wire.participant1_id, wire.participant2_id] }, me), created: instant(wire.created_at),
  last: wire.last_message ? toOldMessage(wire.last_message) : null, unread: null,
  messages: (wire.messages ?? []).filter((message) => !message.is_deleted),
});

