/* ==== Composer ============================================================================================================== */
function fitText() {
  const text = $('text');
  text.style.height = 'auto';
  text.style.height = `${Math.min(text.scrollHeight + 2, 160)}px`;
  $('send').setAttribute('aria-disabled', String(!text.value.trim()));
}
function sendText() {
  const content = wellFormed($('text').value).trim();
  if (!content || !room || room.status === 'closed') return;
  $('notice').hidden = true;
  if (context?.kind === 'edit') return finishEdit(content);
  const answered = context?.message;
  endContext();
  $('text').value = '';
  remember(browser, `draft.${me}.${room.id}`, null);
  fitText();
  pin();
  room.newAt = null;
  room.post(answered ? quoted(answered.content, content) : content);
}
$('text').addEventListener('input', () => {
  fitText();
  if (!room) return;
  if (context?.kind === 'edit') return;
  remember(browser, `draft.${me}.${room.id}`, $('text').value || null);
  if ($('text').value.trim()) room.typing(); else room.stopTyping();
});
$('text').addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && context && !event.isComposing) { endContext(); return; }
  if (event.key === 'ArrowUp' && !$('text').value && !context) {
    const own = room?.can('edit') && room.timeline.findLast((message) => message.sender === me);
    if (own) { event.preventDefault(); startContext('edit', own); }
    return;
  }
  // While an input method composes (Korean, Japanese …) Enter belongs to it; 229 is how Safari says so.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  sendText();
});
$('composer').addEventListener('submit', (event) => { event.preventDefault(); sendText(); $('text').focus(); });

