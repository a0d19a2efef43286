/* ==== What can be done with one message: reply, copy, edit, delete =========================================================== */
/* Of all the buttons behind the messages one is a stop of the Tab key; the arrow keys go from one to the next. */
let stop = null;
const moreButtons = () => [...$('messages').querySelectorAll('.message:not(.pending) .more')];
function keepOneStop() {
  if (stop?.isConnected && stop.tabIndex === 0 && document.activeElement === stop) return;
  const last = moreButtons().at(-1);
  if (stop === last) return;
  if (stop) stop.tabIndex = -1;
  stop = last ?? null;
  if (stop) stop.tabIndex = 0;
}
$('messages').addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.matches('.more')) return;
  event.preventDefault();
  const all = moreButtons(), next = all[all.indexOf(event.target) + step];
  if (!next) return;
  stop.tabIndex = -1;
  stop = next;
  stop.tabIndex = 0;
  stop.focus();
});

/* -- the menu */
let menuOf = null;                   // the button it belongs to
$('messages').addEventListener('click', (event) => {
  const button = event.target.closest('.more');
  if (!button) return;
  if (menuOf === button) closeMenu(true); else openMenu(button);
});
function openMenu(button) {
  closeMenu();
  const message = room?.byId.get(button.closest('.message').dataset.id);
  if (!message) return;
  menuOf = button;
  button.setAttribute('aria-expanded', 'true');
  const menu = $('menu'), isMine = message.sender === me && room.can('edit');
  for (const name of ['edit', 'delete']) menu.querySelector(`[data-do="${name}"]`).hidden = !isMine;
  menu.querySelector('[data-do="copy"]').hidden = !navigator.clipboard;
  menu.hidden = false;
  const frame = $('scroll').getBoundingClientRect(), at = button.getBoundingClientRect();
  const top = at.bottom - frame.top + menu.offsetHeight > frame.height ? at.top - frame.top - menu.offsetHeight : at.bottom - frame.top;
  const left = at.left + at.width / 2 < frame.left + frame.width / 2 ? at.left - frame.left : at.right - frame.left - menu.offsetWidth;
  menu.style.top = `${Math.max(4, top)}px`;
  menu.style.left = `${Math.max(4, Math.min(left, frame.width - menu.offsetWidth - 4))}px`;
  menu.querySelector('button:not([hidden])').focus();
}
function closeMenu(goesBack = false) {
  if (!menuOf) return;
  const button = menuOf;
  menuOf = null;
  $('menu').hidden = true;
  button.setAttribute('aria-expanded', 'false');
  if (goesBack && button.isConnected) button.focus();
}
$('menu').addEventListener('keydown', (event) => {
  const items = [...$('menu').querySelectorAll('button:not([hidden])')], at = items.indexOf(document.activeElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (next !== undefined) { event.preventDefault(); items.at(next % items.length).focus(); }
  if (event.key === 'Escape' || event.key === 'Tab') { event.preventDefault(); closeMenu(true); }
});
$('menu').addEventListener('click', (event) => {
  const action = event.target.closest('[data-do]')?.dataset.do, message = room?.byId.get(menuOf?.closest('.message').dataset.id);
  closeMenu(action === 'copy' || action === 'delete');
  if (!message) return;
  if (action === 'reply' || action === 'edit') startContext(action, message);
  if (action === 'copy') navigator.clipboard.writeText(message.content).catch(() => {});
  if (action === 'delete') deleteMessage(message);
});
addEventListener('pointerdown', (event) => { if (menuOf && !event.target.closest('#menu, .more')) closeMenu(); });
$('log').addEventListener('scroll', () => closeMenu(), { passive: true });

/* -- what the text box is for, if not for a new message: an answer, or an edit */
let context = null;                  // {kind: 'reply' or 'edit', message, draft: what stood in the box}
function startContext(kind, message) {
  endContext();
  context = { kind, message, draft: $('text').value };
  setText($('context-kind'), kind === 'edit' ? t('editing') : t('replying', { name: message.sender }));
  setText($('context-text'), briefText(message));
  $('context').hidden = false;
  $('send').setAttribute('aria-label', t(kind === 'edit' ? 'save' : 'send'));
  if (kind === 'edit') $('text').value = message.content;
  fitText();
  $('text').focus();
}
function endContext() {
  if (!context) return;
  if (context.kind === 'edit') $('text').value = context.draft;
  context = null;
  $('context').hidden = true;
  $('send').setAttribute('aria-label', t('send'));
  fitText();
}
$('context-end').addEventListener('click', () => { endContext(); $('text').focus(); });
/* The text stays in the box until the server has it. */
async function finishEdit(content) {
  const { message } = context, owner = room, edited = context;
  if (content === message.content) return endContext();
  try {
    await owner.edit(message.id, content);
    if (context === edited) endContext();
  } catch (error) {
    showNotice(t('action.problem', { why: reason(error) }));
  }
}
async function deleteMessage(message) {
  if (!confirm(t('delete.sure'))) return;
  try {
    await room.remove(message.id);
    $('text').focus();
  } catch (error) {
    showNotice(t('action.problem', { why: reason(error) }));
  }
}

