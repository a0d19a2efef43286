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
export interface Delivery { conversation: string; messages: string[]; user: string }
export interface Receipt { message: string; user: string; status: 'delivered' | 'read'; at: string }
export interface Typing { conversation: string; user: string; is_typing: boolean }
export interface Presence { conversation: string; users: { user: string; online: boolean }[] }

/** An entry of the list of conversations. */
export interface ConversationSummary {
  id: string;
  members: string[];
  created_at: string;
  /** The newest message, or null. */
  last: Message | null;
  /** Messages of others that the user has not read. */
  unread: number;
}

/** Why something was not done; `code` is one of the protocol's, or `closed`, or `withdrawn`. */
export class ChatError extends Error {
  code: string;
  /** The same may be done later. */
  retry: boolean;
}

export interface ConversationEvents {
  /** A message that is new or has changed; it is in `messages`. */
  message: Message;
  /** A message that is no more in `messages`. */
  deleted: Message;
  /** Too much was missed: `messages` begins anew. */
  reload: undefined;
  read: ReadMark;
  delivered: Delivery;
  typing: Typing;
  /** Somebody came or went; `online` has changed. */
  presence: Presence;
  /** All that was missed is there. */
  live: undefined;
  /** The client may no longer be in it. What waited to be sent is rejected. */
  ended: ChatError;
}

export class Conversation {
  readonly id: string;
  /** In the order that all clients have. */
  readonly messages: Message[];
  /** Users that are there now; empty where the server does not tell. */
  readonly online: Set<string>;
  readonly isLive: boolean;
  /** Where to go on later, in another page or process. */
  readonly cursor: string | undefined;
  /** Null if there are no older messages. */
  readonly before: string | null | undefined;
  on<Name extends keyof ConversationEvents>(name: Name, listener: (detail: ConversationEvents[Name]) => void): () => void;
  message(id: string): Message | undefined;
  /** Resolves with the stored message; rejects if it is refused for good. */
  send(content: string, options?: { id?: string; kind?: string }): Promise<Message>;
  /** Takes back what waits to be sent. True if it was never put on a connection; `send` then rejects with `withdrawn`. */
  withdraw(id: string): boolean;
  /** Changes an own message. Resolves with it. */
  edit(id: string, content: string): Promise<Message>;
  /** Deletes an own message for everybody. */
  delete(id: string): Promise<void>;
  read(ids: string[]): Promise<void>;
  receipts(ids: string[]): Promise<Receipt[]>;
  typing(isTyping?: boolean): void;
  /** Resolves with the number of older messages that were read into `messages`. */
  older(limit?: number): Promise<number>;
  /** Reads what was stored since the cursor without an event, as Django's REST does. */
  refresh(): Promise<void>;
}

export interface ClientOptions {
  /** Who speaks, where the server does not identify users. */
  sender?: string;
  /** Text for the query of each attempt, as `token=…`. */
  query?: () => string | undefined;
  /** More subprotocols for each attempt, as a word and a token. */
  protocols?: () => string[];
  /** False reports no message as delivered. */
  delivered?: boolean;
  /** A constructor like the browser's, where there is no global one. */
  WebSocket?: unknown;
}

export type State = 'connecting' | 'open' | 'waiting' | 'closed';
export type Feature = 'edit' | 'presence' | 'receipts' | 'conversations';

export interface ClientEvents {
  state: State;
  open: { user: string | null; time: string; limits: Record<string, number>; features?: string[] };
  /** The connection was lost with this close code, and is made again. */
  lost: number;
  /** It ended for good. */
  closed: ChatError;
}

export class ChatClient {
  constructor(url: string, options?: ClientOptions);
  /** Null where the server does not identify users. */
  readonly user: string | null;
  /** The identified user, or the `sender` of the options. */
  readonly me: string | undefined;
  /** `waiting`: a retry is due; `closed`: for good. */
  readonly state: State;
  readonly isOpen: boolean;
  /** Messages that are not acknowledged. */
  readonly unsent: number;
  on<Name extends keyof ClientEvents>(name: Name, listener: (detail: ClientEvents[Name]) => void): () => void;
  /** Whether the server can do it; false before the first connection. */
  can(feature: Feature): boolean;
  /** Enters a conversation: after `cursor`, or with its newest `limit` messages (50). */
  join(id: string, cursor?: string, limit?: number): Conversation;
  leave(id: string): void;
  /** A page of the user's conversations, the newest activity first. */
  conversations(options?: { after?: string; limit?: number }): Promise<{ conversations: ConversationSummary[]; next: string | null }>;
  /** The conversation with another user, which is made if there is none. */
  open(user: string): Promise<ConversationSummary>;
  /** Resolves with the numbers of unread messages by conversation. */
  unread(ids: string[]): Promise<Map<string, number>>;
  renew(token: string): void;
  /** Connects now if a retry is due, else asks for a sign of life. */
  wake(): void;
  close(): void;
}
