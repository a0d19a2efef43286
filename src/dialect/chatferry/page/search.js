/* ==== Search: in the conversation on the screen, or in all ==================================================================== */
const SEARCH_MS = 300;
let searched = 0, searchBefore = null;
const canSearch = () => Boolean(api) && Boolean(me);
const snippetOf = (text, wanted) => {
  const at = text.toLowerCase().indexOf(wanted.toLowerCase());
  return at > 60 ? `…${text.slice(at - 40, at + 160)}` : text.slice(0, 200);
};
async function askSearch(before) {
  const within = room && $('search-here').checked ? room.id : undefined;
  const query = new URLSearchParams({
    q: $('search-text').value.trim().slice(0, 200), limit: 30, ...(knownBy === 'none' && { user: me }),
    ...(within && { conversation: within }), ...(before && { before }),
  });
  const response = await fetch(`${api}search?${query}`, { cache: 'no-store', headers: { ...(token && { Authorization: `${identity.word} ${token}` }) } });
  const answer = await response.json().catch(() => null);
  if (!response.ok || !answer) throw Object.assign(new Error(answer?.detail || t('answered', { status: response.status })), { code: answer?.code });
  return answer;
}
/* One answer looks at so many messages; what is older is asked for. */
async function runSearch(before = null) {
  const asked = ++searched, wanted = $('search-text').value.trim();
  if (!before) $('found').replaceChildren();
  $('found-more').hidden = true;
  setText($('search-state'), wanted ? t('search.busy') : '');
  if (!wanted) return;
  try {
    const answer = await askSearch(before);
    if (asked !== searched) return;
    $('found').append(...answer.messages.map(({ conversation, message }) => foundNode(conversation, toMessage(message), wanted)));
    searchBefore = answer.before;
    $('found-more').hidden = !searchBefore;
    const count = $('found').children.length;
    setText($('search-state'), count ? t('search.found', { count }) : searchBefore ? t('search.further') : t('search.none'));
  } catch (error) {
    if (asked === searched) setText($('search-state'), reason(error));
  }
}
function foundNode(conversation, message, wanted) {
  const node = clone('found-template'), entry = entries.find(({ id }) => id === conversation);
  setText(node.querySelector('.name'), message.sender === me ? t('search.to', { name: entry?.peer ?? '' }) : message.sender);
  setText(node.querySelector('time'), briefTime(message.date));
  const { rest: text } = splitQuote(message.content);
  setText(node.querySelector('.preview'), snippetOf(text, wanted) || briefText(message));
  node.querySelector('button').addEventListener('click', () => showFound(conversation, message));
  return node;
}
async function showFound(conversation, message) {
  $('search').close();
  if (room?.id !== conversation) {
    const entry = entries.find(({ id }) => id === conversation) ?? toOldEntry(await rest.conversation(conversation), me);
    await visit(entry.place);
  }
  const asked = room;
  if (asked?.id !== conversation) return;
  while (asked === room && !asked.byId.has(message.id) && asked.serverHasMore && await asked.more());
  if (asked !== room || !asked.byId.has(message.id)) return;
  asked.refreshTimeline();
  pinned = false;
  limit = Math.max(limit, asked.timeline.length - asked.timeline.findIndex(({ id }) => id === message.id) + 20);
  quietly(drawLog);
  const node = messageNodes.get(message.uid);
  node?.scrollIntoView({ block: 'center' });
  noteScroll();
  node?.classList.add('sought');
  setTimeout(() => node?.classList.remove('sought'), 3_000);
  node?.querySelector('.more').focus({ preventScroll: true });
}
function openSearch(isHere) {
  $('search-here').checked = Boolean(isHere && room);
  $('search-here').closest('label').hidden = !room;
  $('search').showModal();
  $('search-text').select();
  if ($('search-text').value) runSearch();
}
const searchSoon = (() => {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(runSearch, SEARCH_MS); };
})();
$('search-all').addEventListener('click', () => openSearch(false));
$('search-room').addEventListener('click', () => openSearch(true));
$('search-text').addEventListener('input', searchSoon);
$('search-here').addEventListener('change', () => runSearch());
$('search-form').addEventListener('submit', (event) => { event.preventDefault(); runSearch(); });
$('found-more').addEventListener('click', () => runSearch(searchBefore));
$('search-end').addEventListener('click', () => $('search').close());
$('search').addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.isComposing) return;
  event.preventDefault();
  const stops = [$('search-text'), ...$('found').querySelectorAll('button')];
  stops[stops.indexOf(document.activeElement) + step]?.focus();
});

