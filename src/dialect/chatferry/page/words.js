/* ==== Words: everything the page says, in English and in Korean ============================================================== */
const WORDS = {
  en: {
    'app': 'Chatferry',
    'lead': 'Pick a name and start talking.',
    'lead.token': 'Sign in with your token.',
    'lead.session': 'Sign in to this site first.',
    'note': 'Just a name: this page does not check who you are. It is kept in this browser.',
    'note.token': 'The server checks the token. This tab forgets it when it is closed.',
    'note.session': 'The server knows you by your session: give the name that it has for you.',
    'note.again': 'The server knows you by your session: sign in there, then come back and continue.',
    'your.token': 'Your token', 'your.name': 'Your name', 'chat.with': 'Chat with', 'optional': '(optional)',
    'cancel': 'Cancel', 'continue': 'Continue', 'skip': 'Skip to the message box', 'conversations': 'Conversations',
    'you.are': 'You are', 'change': 'Change', 'change.label': 'Change who you are', 'notify': 'Notify me',
    'find': 'Find or start a chat', 'find.label': 'Name to find or to start a chat with', 'chat': 'Chat',
    'nobody': 'Choose a conversation, or type a name to start one.', 'back': 'Back to conversations', 'retry.now': 'Try now',
    'earlier': 'Show earlier messages', 'alone': 'Trying it out alone?', 'second': 'Open it as {name} in a second window',
    'dismiss': 'Dismiss', 'send': 'Send message', 'hint': 'Enter sends, Shift+Enter starts a new line.', 'new': 'New',
    'whole': 'Show the whole message', 'send.again': 'Send again', 'discard': 'Discard',
    'name.missing': 'Please enter a name.', 'name.slash': 'A name cannot contain a slash.', 'name.dots': 'A name cannot be only dots.',
    'token.missing': 'Please enter your token.', 'token.bad': 'This is no token that names a user.',
    'unreachable': 'The server cannot be reached.', 'answered': 'The server answered {status}.',
    'ended': 'The server has ended your session. Sign in again.',
    'cut': 'The server has closed the connection. Reload the page to connect again.',
    'inactive': 'This conversation has been closed. You can read it, but not write.',
    'over': 'You can no longer take part in this conversation.',
    'unconfirmed': 'The server did not confirm it.', 'too.long': 'It is too long for this server.',
    'list.problem': 'The list could not be refreshed. {why}', 'open.problem': 'The chat with {name} could not be opened. {why}',
    'list.empty': 'No conversations yet. Type a name above to start one.',
    'list.none': 'No conversation by that name. Press Enter to start one.',
    'you': 'You: {text}', 'yourself': '{name} (you)', 'from': '{name}:', 'from.me': 'You:', 'empty.preview': 'No messages yet',
    'unsent': '{count} not sent yet', 'unread': '{count} unread', 'connecting': 'Connecting…', 'waiting': 'Not connected', 'closed': 'Closed',
    'connected': 'Connected as {name}', 'online': 'Online', 'offline': 'Offline',
    'lost': 'The connection is lost; trying to get it back. What you write waits here and is sent then.',
    'sending': 'Sending…', 'queued': 'Waiting for the connection', 'unsure': 'Checking whether it arrived…', 'failed': 'Not sent',
    'sent': 'Sent', 'delivered': 'Delivered to {name}', 'read': 'Read by {name}', 'edited': 'edited',
    'empty': 'There are no messages here.', 'empty.self': 'A place for notes to yourself.', 'empty.chat': 'No messages yet. Say hello to {name}.',
    'news': '{count} new', 'latest': 'Latest', 'line': 'New messages', 'typing.one': '{name} is typing…', 'typing.many': '{name} are typing…',
    'log.label': 'Messages with {name}', 'text.label': 'Message to {name}', 'text': 'Message',
    'actions': 'Actions for this message', 'reply': 'Reply', 'copy': 'Copy text', 'edit': 'Edit', 'delete': 'Delete',
    'delete.sure': 'Delete this message for everybody?', 'replying': 'Reply to {name}', 'editing': 'Edit message', 'save': 'Save',
    'action.problem': 'That was not done. {why}',
    'error.not_yours': 'The message is somebody else\'s.', 'error.gone': 'The message has been deleted.',
    'error.unavailable': 'The server cannot do it now. Try again later.', 'error.throttled': 'Too much at once. Try again in a moment.',
    'error.too_long': 'It is too long for this server.', 'error.no_conversation': 'There is no such conversation, or it is not yours.',
    'error.refused': 'The server does not take it.', 'error.denied': 'The server does not let you.',
  },
  ko: {
    'app': 'Chatferry',
    'lead': '이름을 정하고 대화를 시작하세요.',
    'lead.token': '토큰으로 로그인하세요.',
    'lead.session': '먼저 이 사이트에 로그인하세요.',
    'note': '이름일 뿐이며, 이 페이지는 누구인지 확인하지 않습니다. 이름은 이 브라우저에 저장됩니다.',
    'note.token': '토큰은 서버가 확인합니다. 이 탭을 닫으면 잊습니다.',
    'note.session': '서버는 세션으로 사용자를 알아봅니다. 서버에 등록된 이름을 입력하세요.',
    'note.again': '서버는 세션으로 사용자를 알아봅니다. 로그인한 뒤 계속하세요.',
    'your.token': '토큰', 'your.name': '이름', 'chat.with': '대화 상대', 'optional': '(선택)',
    'cancel': '취소', 'continue': '계속', 'skip': '메시지 입력란으로 건너뛰기', 'conversations': '대화 목록',
    'you.are': '내 이름', 'change': '변경', 'change.label': '이름 변경', 'notify': '알림 받기',
    'find': '대화 찾기 또는 시작', 'find.label': '찾거나 대화를 시작할 이름', 'chat': '대화',
    'nobody': '대화를 선택하거나 이름을 입력해 시작하세요.', 'back': '대화 목록으로', 'retry.now': '지금 다시 시도',
    'earlier': '이전 메시지 보기', 'alone': '혼자 시험해 보시나요?', 'second': '새 창에서 {name}님으로 열기',
    'dismiss': '닫기', 'send': '메시지 보내기', 'hint': 'Enter로 보내고 Shift+Enter로 줄을 바꿉니다.', 'new': '새 메시지',
    'whole': '메시지 전체 보기', 'send.again': '다시 보내기', 'discard': '버리기',
    'name.missing': '이름을 입력하세요.', 'name.slash': '이름에 빗금(/)을 쓸 수 없습니다.', 'name.dots': '이름은 점만으로 지을 수 없습니다.',
    'token.missing': '토큰을 입력하세요.', 'token.bad': '사용자 이름이 들어 있는 토큰이 아닙니다.',
    'unreachable': '서버에 연결할 수 없습니다.', 'answered': '서버가 {status}(으)로 응답했습니다.',
    'ended': '서버가 세션을 끝냈습니다. 다시 로그인하세요.',
    'cut': '서버가 연결을 끝냈습니다. 다시 연결하려면 페이지를 새로 고치세요.',
    'inactive': '종료된 대화입니다. 읽을 수만 있습니다.',
    'over': '더 이상 이 대화에 참여할 수 없습니다.',
    'unconfirmed': '서버가 확인하지 않았습니다.', 'too.long': '이 서버가 받기에는 너무 깁니다.',
    'list.problem': '목록을 새로 고치지 못했습니다. {why}', 'open.problem': '{name}님과의 대화를 열지 못했습니다. {why}',
    'list.empty': '아직 대화가 없습니다. 위에 이름을 입력해 시작하세요.',
    'list.none': '그 이름의 대화가 없습니다. Enter를 누르면 시작합니다.',
    'you': '나: {text}', 'yourself': '{name} (나)', 'from': '{name}:', 'from.me': '나:', 'empty.preview': '아직 메시지가 없습니다',
    'unsent': '보내지 못한 메시지 {count}개', 'unread': '읽지 않은 메시지 {count}개', 'connecting': '연결 중…', 'waiting': '연결 안 됨', 'closed': '종료됨',
    'connected': '{name}(으)로 연결됨', 'online': '접속 중', 'offline': '접속 안 함',
    'lost': '연결이 끊겨 다시 연결하고 있습니다. 쓴 글은 여기에 두었다가 연결되면 보냅니다.',
    'sending': '보내는 중…', 'queued': '연결을 기다리는 중', 'unsure': '도착했는지 확인하는 중…', 'failed': '보내지 못함',
    'sent': '보냄', 'delivered': '{name}님에게 전달됨', 'read': '{name}님이 읽음', 'edited': '수정됨',
    'empty': '메시지가 없습니다.', 'empty.self': '나에게 쓰는 메모장입니다.', 'empty.chat': '아직 메시지가 없습니다. {name}님에게 인사해 보세요.',
    'news': '새 메시지 {count}개', 'latest': '최신 메시지', 'line': '여기부터 새 메시지', 'typing.one': '{name}님이 입력 중…', 'typing.many': '{name}님이 입력 중…',
    'log.label': '{name}님과의 메시지', 'text.label': '{name}님에게 보낼 메시지', 'text': '메시지',
    'actions': '이 메시지에 할 수 있는 일', 'reply': '답장', 'copy': '텍스트 복사', 'edit': '수정', 'delete': '삭제',
    'delete.sure': '모두에게서 이 메시지를 삭제할까요?', 'replying': '{name}님에게 답장', 'editing': '메시지 수정', 'save': '저장',
    'action.problem': '처리하지 못했습니다. {why}',
    'error.not_yours': '다른 사람의 메시지입니다.', 'error.gone': '삭제된 메시지입니다.',
    'error.unavailable': '지금은 서버가 처리할 수 없습니다. 나중에 다시 시도하세요.', 'error.throttled': '요청이 너무 많습니다. 잠시 뒤 다시 시도하세요.',
    'error.too_long': '이 서버가 받기에는 너무 깁니다.', 'error.no_conversation': '그런 대화가 없거나 내 대화가 아닙니다.',
    'error.refused': '서버가 받지 않습니다.', 'error.denied': '서버가 허락하지 않습니다.',
  },
};
/* The first of the browser's languages that the page knows. Times follow it, in the form of its region: en-GB has 24 hours. */
const locale = navigator.languages.find((name) => name.split('-')[0] in WORDS) ?? 'en';
const words = WORDS[locale.split('-')[0]];

/* Returns a text in the viewer's language with the values in it. */
function t(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
/* Returns why a request was not done, for people: an error of chatferry.v1, or one of REST, which has its own text. */
const reason = (error) => words[`error.${error.code}`] ?? error.message;

/* Fills in the texts of the markup: data-t is what an element holds, data-t-ATTRIBUTE one of its attributes. */
function localize(root) {
  document.documentElement.lang = locale;
  for (const node of root.querySelectorAll('[data-t], [data-t-label], [data-t-placeholder]')) {
    const { t: text, tLabel: label, tPlaceholder: placeholder } = node.dataset;
    if (text) node.textContent = t(text);
    if (label) node.setAttribute('aria-label', t(label));
    if (placeholder) node.placeholder = t(placeholder);
  }
}
