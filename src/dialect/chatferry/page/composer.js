/* ==== Composer ============================================================================================================== */
function fitText() {
  const text = $('text');
  text.style.height = 'auto';
  text.style.height = `${Math.min(text.scrollHeight + 2, 160)}px`;
  $('send').setAttribute('aria-disabled', String(areUploading() || !text.value.trim() && !uploaded().length));
}
function sendText() {
  const content = wellFormed($('text').value).trim();
  if (!content && !uploaded().length || areUploading() || !room || room.status === 'closed') return;
  $('notice').hidden = true;
  if (context?.kind === 'edit') return content && finishEdit(content);
  const sent = uploaded();
  const answered = context?.message;
  endContext();
  $('text').value = '';
  remember(browser, `draft.${me}.${room.id}`, null);
  fitText();
  pin();
  room.newAt = null;
  clearUploads();
  room.post(answered ? quoted(answered.content, content) : content, sent);
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

