/* ==== Groups: made, and their names and members changed ===================================================================== */
const isOwner = (group) => group.members.some(({ user, role }) => user === me && role === 'owner');
/* Names with commas or line breaks between them. */
const namesIn = (text) => [...new Set(text.split(/[,\n]/).map(cleanName).filter(Boolean))];

/* -- a new group */
let groupKey;                        // of the group that is being made: asked for again, it is made once
function askForGroup() {
  groupKey = newId();
  $('new-name').value = $('new-members').value = '';
  setText($('new-problem'), '');
  $('new-group').showModal();
  $('new-name').focus();
}
$('make-group').addEventListener('click', askForGroup);
$('new-cancel').addEventListener('click', () => $('new-group').close());
$('new-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const name = cleanName($('new-name').value), users = namesIn($('new-members').value);
  if (!name || !users.length) {
    setText($('new-problem'), t(name ? 'members.missing' : 'name.missing'));
    $(name ? 'new-members' : 'new-name').focus();
    return;
  }
  try {
    const { id } = await chat.create(name, users, groupKey);
    $('new-group').close();
    refreshList();
    visit({ group: id });
  } catch (error) {
    setText($('new-problem'), reason(error));
  }
});

/* -- the members of the one on the screen */
function drawGroup() {
  $('make-group').hidden = !chat?.can('groups');
  $('members-open').hidden = !room?.group;
  const dialog = $('members');
  if (!dialog.open) return;
  if (!room?.group) { dialog.close(); return; }
  const { group } = room, mayChange = room.status === 'open' && isOwner(group);
  for (const id of ['rename', 'invite']) $(id).hidden = !mayChange;
  $('quit').disabled = room.status !== 'open';
  setText($('members-title'), t('members.of', { name: group.name }));
  arrange($('member-list'), group.members.map((member) => memberNode(member, mayChange)));
}
const memberNodes = new Map();       // by user
function memberNode({ user, role }, mayChange) {
  if (!memberNodes.has(user)) {
    const made = clone('member-template');
    made.querySelector('.role').addEventListener('click', () => {
      const isNow = room.group.members.some((each) => each.user === user && each.role === 'owner');
      changeGroup((group) => group.assign(user, isNow ? 'member' : 'owner'));
    });
    made.querySelector('.remove').addEventListener('click', () => {
      if (confirm(t('remove.sure', { name: user }))) changeGroup((group) => group.remove(user));
    });
    memberNodes.set(user, made);
  }
  const node = memberNodes.get(user), part = (name) => node.querySelector(name);
  paintAvatar(part('.avatar'), user);
  setText(part('.name'), user === me ? t('yourself', { name: user }) : user);
  setText(part('.is'), role === 'owner' ? t('owner') : '');
  part('.online').hidden = user === me || !room.joined.online.has(user);
  setText(part('.role'), t(role === 'owner' ? 'owner.no' : 'owner.yes'));
  part('.role').hidden = !mayChange;
  part('.remove').hidden = !mayChange || user === me;
  part('.remove').setAttribute('aria-label', t('remove.label', { name: user }));
  part('.role').setAttribute('aria-label', t(role === 'owner' ? 'owner.no.label' : 'owner.yes.label', { name: user }));
  return node;
}
async function changeGroup(change) {
  setText($('members-problem'), '');
  try {
    await change(room.joined);
    return true;
  } catch (error) {
    setText($('members-problem'), reason(error));
    return false;
  }
}
$('members-open').addEventListener('click', () => {
  setText($('members-problem'), '');
  $('rename-name').value = room.group.name;
  $('members').showModal();
  drawGroup();
});
$('members-close').addEventListener('click', () => $('members').close());
$('rename').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = cleanName($('rename-name').value);
  if (name) changeGroup((group) => group.rename(name));
  else setText($('members-problem'), t('name.missing'));
});
$('invite').addEventListener('submit', async (event) => {
  event.preventDefault();
  const users = namesIn($('invite-names').value);
  if (users.length && await changeGroup((group) => group.invite(users))) $('invite-names').value = '';
});
$('quit').addEventListener('click', async () => {
  if (!confirm(t('quit.sure', { name: room.group.name }))) return;
  const left = room;
  if (!await changeGroup((group) => group.quit())) return;
  $('members').close();
  entries = entries.filter((entry) => entry.id !== left.id);
  goBack();
  refreshList();
});
