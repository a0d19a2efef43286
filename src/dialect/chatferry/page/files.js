/* ==== Files: chosen, pasted or dropped; uploaded while the text is written; shown in messages ================================ */
const api = said('chat-api-prefix');
let files = null;                    // of `me`
function filesOf() {
  const headers = (method) => {
    const csrf = method === 'POST' && csrfToken();
    return { ...(csrf && { 'X-CSRFToken': csrf }), ...(token && { Authorization: `${identity.word} ${token}` }) };
  };
  files ??= new ChatFiles(api, { headers, user: knownBy === 'none' ? me : undefined });
  return files;
}
const canAttach = () => Boolean(api) && Boolean(room?.can('attachments')) && context?.kind !== 'edit';

/* Uploads that wait to be sent in the room on the screen. */
let uploads = [];                    // {file, name, part: 0 to 1, known: what the server keeps, problem, abort, node}
const areUploading = () => uploads.some((each) => !each.known && !each.problem);
const uploaded = () => uploads.filter((each) => each.known).map((each) => each.known);
function attach(list) {
  const { attachments: most, attachment_bytes: bytes } = chat.limits;
  for (const file of list) {
    if (uploads.length >= most) { showNotice(t('attach.many', { count: most })); break; }
    if (file.size > bytes) { showNotice(t('attach.large', { name: file.name, size: sizeText(bytes) })); continue; }
    const upload = { file, name: file.name || t('attach.pasted'), part: 0, abort: new AbortController() };
    uploads.push(upload);
    startUpload(upload);
  }
  drawUploads();
}
async function startUpload(upload) {
  const onProgress = (part) => { upload.part = part; drawUploads(); };
  try {
    upload.known = await filesOf().upload(upload.file, { name: upload.name, onProgress, signal: upload.abort.signal });
  } catch (error) {
    upload.problem = reason(error);
  }
  if (!uploads.includes(upload)) return;
  setText($('state'), upload.problem ? t('attach.failed', { name: upload.name, why: upload.problem }) : t('attach.done', { name: upload.name }));
  drawUploads();
}
function dropUpload(upload) {
  upload.abort.abort();
  uploads = uploads.filter((each) => each !== upload);
  drawUploads();
  $('text').focus();
}
function clearUploads() {
  uploads = [];
  drawUploads();
}
function drawUploads() {
  $('attach').hidden = !canAttach();
  arrange($('uploads'), uploads.map((upload) => {
    upload.node ??= uploadNode(upload);
    const progress = upload.node.querySelector('progress');
    progress.hidden = Boolean(upload.known || upload.problem);
    progress.value = upload.part;
    upload.node.classList.toggle('failed', Boolean(upload.problem));
    setText(upload.node.querySelector('.soft'), upload.problem ?? sizeText(upload.file.size));
    return upload.node;
  }));
  $('uploads').hidden = !uploads.length;
  fitText();
}
function uploadNode(upload) {
  const node = clone('upload-template');
  setText(node.querySelector('.name'), upload.name);
  node.querySelector('progress').setAttribute('aria-label', t('attach.sending', { name: upload.name }));
  const button = node.querySelector('button');
  button.setAttribute('aria-label', t('attach.remove', { name: upload.name }));
  button.addEventListener('click', () => dropUpload(upload));
  return node;
}
$('attach').addEventListener('click', () => $('attach-files').click());
$('attach-files').addEventListener('change', ({ target }) => {
  attach([...target.files]);
  target.value = '';
  $('text').focus();
});
$('text').addEventListener('paste', (event) => {
  const pasted = [...event.clipboardData.files];
  if (!pasted.length || !canAttach()) return;
  event.preventDefault();
  attach(pasted);
});
for (const kind of ['dragover', 'drop']) {
  $('chat').addEventListener(kind, (event) => {
    if (!event.dataTransfer.types.includes('Files') || !canAttach()) return;
    event.preventDefault();
    $('chat').classList.toggle('dropping', kind === 'dragover');
    if (kind === 'drop') attach([...event.dataTransfer.files]);
  });
}
$('chat').addEventListener('dragleave', () => $('chat').classList.remove('dropping'));

/* -- files of a message: images that open, others to be downloaded */
const SHOWN_TYPES = ['image/jpeg', 'image/png', 'image/gif', 'image/webp'];
const sizeFormat = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
function sizeText(bytes) {
  const step = bytes < 1_000 ? 0 : bytes < 1_000_000 ? 1 : 2;
  return `${sizeFormat.format(bytes / 1_000 ** step)} ${['B', 'kB', 'MB'][step]}`;
}
/* A message on one line. */
const briefText = ({ content, files: of = [] }) => splitQuote(content).rest.slice(0, 200) || of.length && t('files', { names: of.map(({ name }) => name).join(', ') }) || '';
function drawFiles(node, list) {
  const key = list.map((file) => file.id).join();
  if (node.dataset.files === key) return;
  node.dataset.files = key;
  node.hidden = !list.length;
  node.replaceChildren(...list.map(fileNode));
  if (list.length && api) link([...node.querySelectorAll('a')]);
}
function fileNode(file) {
  const isShown = SHOWN_TYPES.includes(file.type) && file.width > 0;
  const node = clone(isShown ? 'image-template' : 'file-template'), anchor = node.matches('a') ? node : node.querySelector('a');
  anchor.dataset.id = file.id;
  if (isShown) {
    const image = node.querySelector('img');
    // The room that it takes is known before it comes, so that nothing moves.
    const scale = Math.min(1, 280 / file.width, 280 / file.height);
    image.width = Math.max(1, Math.round(file.width * scale));
    image.height = Math.max(1, Math.round(file.height * scale));
    image.alt = file.name;
  } else {
    setText(node.querySelector('.name'), file.name);
    setText(node.querySelector('.soft'), sizeText(file.size));
  }
  return node;
}
/* Gives links their addresses, which end: a click on one that may have ended waits for the next. */
async function link(anchors) {
  try {
    const links = await filesOf().links(anchors.map((anchor) => anchor.dataset.id));
    for (const anchor of anchors) {
      const found = links.get(anchor.dataset.id), image = anchor.querySelector('img');
      if (!found) continue;
      anchor.href = found.url;
      anchor.until = found.until;
      if (image && !image.src) image.src = found.thumbnail_url ?? found.url;
    }
  } catch { /* a click asks again */ }
}
$('messages').addEventListener('click', async (event) => {
  const anchor = event.target.closest('a[data-id]');
  if (!anchor || anchor.until > performance.now()) return;
  event.preventDefault();
  await link([anchor]);
  if (anchor.until > performance.now()) anchor.click();
  else showNotice(t('error.no_attachment'));
});

