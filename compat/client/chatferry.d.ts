// Types of chatferry.js.

export const SUBPROTOCOL: 'chatferry.v1';

/** Makes an id for a message: a UUID of version 7. */
export function newId(now?: number): string;

export interface Message {
  id: string;
  sender: string;
  kind: string;
  content: string;
  /** RFC 3339, in UTC. */
  created_at: string;
  updated_at: string;
}

export interface ReadMark { conversation: string; message: string; user: string }
export interface Typing { conversation: string; user: string; is_typing: boolean }

/** Why something was not done; `code` is one of the protocol's, or `closed`. */
export class ChatError extends Error {
  code: string;
  /** The same may be done later. */
  retry: boolean;
}

export interface ConversationEvents {
  /** A message that is new or has changed; it is in `messages`. */
  message: Message;
  /** Too much was missed: `messages` begins anew. */
  reload: undefined;
  read: ReadMark;
  typing: Typing;
  /** All that was missed is there. */
  live: undefined;
  /** The client may no longer be in it. */
  ended: ChatError;
}

export class Conversation {
  readonly id: string;
  /** In the order that all clients have. */
  readonly messages: Message[];
  readonly isLive: boolean;
  /** Where to go on later, in another page or process. */
  readonly cursor: string | undefined;
  /** Null if there are no older messages. */
  readonly before: string | null | undefined;
  on<Name extends keyof ConversationEvents>(name: Name, listener: (detail: ConversationEvents[Name]) => void): () => void;
  /** Resolves with the stored message; rejects if it is refused for good. */
  send(content: string, options?: { id?: string; kind?: string }): Promise<Message>;
  read(ids: string[]): Promise<void>;
  typing(isTyping?: boolean): void;
  /** Resolves with the number of older messages that were read into `messages`. */
  older(limit?: number): Promise<number>;
}

export interface ClientOptions {
  /** Who speaks, where the server does not identify users. */
  sender?: string;
  /** Text for the query of each attempt, as `token=…`. */
  query?: () => string | undefined;
  /** A constructor like the browser's, where there is no global one. */
  WebSocket?: unknown;
}

export interface ClientEvents {
  open: { user: string | null; time: string; limits: Record<string, number> };
  /** The connection was lost with this close code, and is made again. */
  lost: number;
  /** It ended for good. */
  closed: ChatError;
}

export class ChatClient {
  constructor(url: string, options?: ClientOptions);
  readonly user: string | null;
  readonly isOpen: boolean;
  /** Messages that are not acknowledged. */
  readonly unsent: number;
  on<Name extends keyof ClientEvents>(name: Name, listener: (detail: ClientEvents[Name]) => void): () => void;
  join(id: string, cursor?: string): Conversation;
  leave(id: string): void;
  /** Resolves with the numbers of unread messages by conversation, of up to 100. */
  unread(ids: string[]): Promise<Map<string, number>>;
  renew(token: string): void;
  close(): void;
}
