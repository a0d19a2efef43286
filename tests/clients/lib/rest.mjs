// The REST calls the clients need, with plain fetch.
import { BASE_URL } from './checks.mjs';

async function ask(method, path, body) {
  const response = await fetch(`${BASE_URL}/api/chat/${path}`, {
    method,
    headers: { Accept: 'application/json', ...(body && { 'Content-Type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

export async function createConversation(one, two) {
  return (await ask('POST', 'conversations/', { participant1_id: one, participant2_id: two })).id;
}
export const listMessages = (conversation) => ask('GET', `conversations/${conversation}/messages/`);
export const sendMessage = (conversation, sender, content, message_type = 'text') =>
  ask('POST', `conversations/${conversation}/messages/send/`, { sender_id: sender, content, message_type });
