/* ==== Tools ================================================================================================================= */
const PAGE = 200;                    // messages drawn at once; the rest waits behind "Show earlier messages"
const JOIN_MS = 5 * 60_000;          // messages of one sender closer than this are drawn together
const LONG = 5_000;                  // characters of one message drawn at once: a megabyte of text would stop the browser
const LIST_REFRESH_MS = 20_000, LIST_PAGE = 50;
const ECHO_WAIT_MS = 10_000;         // over Django's protocol: a message not sent back in this time: the connection is taken for dead
const PROBE_WAIT_MS = 4_000;
const TYPING_REPEAT_MS = 3_000, TYPING_IDLE_MS = 4_000, TYPING_SHOWN_MS = 6_000;
const DWELL_MS = 400;                // how long a message must stay in view before it is marked as read
const RETRY_MS = [500, 1_000, 2_000, 4_000, 8_000, 15_000];
const MAX_TRIES = 3;                 // a message that has cost this many connections waits for the person

const $ = (id) => document.getElementById(id);
const said = (name) => document.querySelector(`meta[name="${name}"]`).content;
const clone = (id) => $(id).content.firstElementChild.cloneNode(true);
const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const wellFormed = (text) => text.toWellFormed?.() ?? text;     // half an emoji is no Unicode text: the server could not store it

/* Storage may be switched off in a browser; the page then only forgets more. */
function recall(store, key, otherwise) {
  try { return JSON.parse(store().getItem(`chatferry.${key}`)) ?? otherwise; } catch { return otherwise; }
}
function remember(store, key, value) {
  try {
    if (value === null) store().removeItem(`chatferry.${key}`);
    else store().setItem(`chatferry.${key}`, JSON.stringify(value));
  } catch { /* full or forbidden */ }
}
const browser = () => localStorage, tab = () => sessionStorage;

/* Times are shown in the viewer's zone and language. */
const clock = new Intl.DateTimeFormat(locale, { hour: 'numeric', minute: '2-digit' });
const longDay = new Intl.DateTimeFormat(locale, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
const shortDay = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short' });
const fullTime = new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'medium' });
const relativeDay = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });
const dayNumber = (date) => Math.round(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / 86_400_000);
const daysAgo = (date) => dayNumber(new Date()) - dayNumber(date);
const dayName = (date) => [0, 1].includes(daysAgo(date)) ? relativeDay.format(-daysAgo(date), 'day') : longDay.format(date);
const briefTime = (date) => daysAgo(date) === 0 ? clock.format(date) : shortDay.format(date);

/* Microseconds since 1970, to sort by: Date alone would lose the last three digits. */
function instant(text) {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? 0 : ms * 1000 + Number(/\.\d{3}(\d{3})/.exec(text)?.[1] ?? 0);
}
function paintAvatar(node, name) {
  const first = Intl.Segmenter ? [...new Intl.Segmenter(locale).segment(name)][0]?.segment : [...name][0];
  setText(node, (first ?? '?').toLocaleUpperCase());
  node.dataset.hue = [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 997, 7) % 8;
}
/* Makes `parent` hold exactly `wanted`, moving nothing that already stands right: what moves would be read out again. */
function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const node of [...parent.children]) if (!keep.has(node)) node.remove();
  let next = parent.firstElementChild;
  for (const node of wanted) {
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
}
/* Addresses of the web and of mail become links; they open only when followed, without a referrer. */
const ADDRESS = /(https?:\/\/[^\s<>"]+|(?<![\p{L}\p{N}.@-])www\.[^\s<>"]+|(?<![\p{L}\p{N}._%+-])[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+)/iu;
const OPENED_BY = { ')': '(', ']': '[', '}': '{' };
/* The end of an address without the punctuation and brackets around it; a bracket that the address itself opens is part of it. */
function addressEnd(text) {
  const surplus = {};                 // of closing brackets, by their opening one
  for (const letter of text) {
    if ('([{'.includes(letter)) surplus[letter] = (surplus[letter] ?? 0) - 1;
    else if (OPENED_BY[letter]) surplus[OPENED_BY[letter]] = (surplus[OPENED_BY[letter]] ?? 0) + 1;
  }
  let end = text.length;
  for (; end > 0; end--) {
    const last = text[end - 1], opener = OPENED_BY[last];
    if (opener ? surplus[opener] <= 0 : !`.,;:!?*_~'"’”»…。、」』`.includes(last)) break;
    if (opener) surplus[opener]--;
  }
  return end;
}
function linkTo(text) {
  if (/^https?:/i.test(text)) return text;
  return /^www\./i.test(text) ? `https://${text}` : `mailto:${text}`;
}
function fillText(node, text) {
  node.textContent = '';
  for (const [index, part] of text.split(ADDRESS).entries()) {
    const end = index % 2 ? addressEnd(part) : 0, address = part.slice(0, end);
    const isWhole = address.includes('@') || /^(https?:\/\/[^/?#.]|www\.[^/?#.]+\.[^/?#.])/i.test(address);
    if (!isWhole || !URL.canParse(linkTo(address))) { node.append(part); continue; }
    const link = document.createElement('a');
    Object.assign(link, { href: linkTo(address), textContent: address, target: '_blank', rel: 'noopener noreferrer nofollow' });
    node.append(link, part.slice(end));
  }
}
/* Puts off and gathers: many changes, one run. */
function later(work, wait) {
  let timer;
  return () => { timer ??= setTimeout(() => { timer = undefined; work(); }, wait); };
}
/* A reply begins with lines of what it answers, each after "> ", so that every client can show it. */
const QUOTE = /^((?:>[^\n]*\n)+)\n*([^]*\S[^]*)$/;
function splitQuote(content) {
  const [, quote, rest] = QUOTE.exec(content) ?? [];
  return quote ? { quote: quote.trimEnd().replace(/^> ?/gm, ''), rest } : { quote: '', rest: content };
}
function quoted(content, answer) {
  const lines = splitQuote(content).rest.trim().split('\n'), few = lines.slice(0, 4).map((line) => line.slice(0, 200));
  if (few.length < lines.length || few.some((line, at) => line !== lines[at])) few.push(`${few.pop()}…`);
  return `${few.map((line) => `> ${line}`).join('\n')}\n\n${answer}`;
}

