// Types of chatferry.js.

export const SUBPROTOCOL: 'chatferry.v1';

/** Makes an id for a message: a UUID of version 7. */
export function newId(now?: number): string;

/** A file of a message. `type` is that of its content; the sides are those of an image. */
export interface Attachment {
  id: string;
  name: string;
  type: string;
  size: number;
  width?: number;
  height?: number;
}

export interface Message {
  id: string;
  sender: string;
  kind: string;
  /** Empty for files alone. */
  content: string;
  attachments?: Attachment[];
  /** RFC 3339, in UTC. */
  created_at: string;
  updated_at: string;
}

export interface ReadMark { conversation: string; message: string; user: string }
export interface Delivery { conversation: string; messages: string[]; user: string }
export interface Receipt { message: string; user: string; status: 'delivered' | 'read'; at: string }
export interface Typing { conversation: string; user: string; is_typing: boolean }
export interface Presence { conversation: string; users: { user: string; online: boolean }[] }

export type Role = 'owner' | 'member';
/** Of two states of a group the one with the greater version is newer. */
export interface Group { name: string; version: number; members: { user: string; role: Role }[] }
export interface Membership { conversation: string; user: string; is_member: boolean }

/** An entry of the list of conversations. */
export interface ConversationSummary {
  id: string;
  members: string[];
  /** Only of a group. */
  group?: Group;
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
  /** Its name, roles or members have changed; `group` has them. */
  group: Group;
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
  /** As last heard; undefined in a conversation of two. */
  readonly group: Group | undefined;
  readonly isLive: boolean;
  /** Where to go on later, in another page or process. */
  readonly cursor: string | undefined;
  /** Null if there are no older messages. */
  readonly before: string | null | undefined;
  on<Name extends keyof ConversationEvents>(name: Name, listener: (detail: ConversationEvents[Name]) => void): () => void;
  message(id: string): Message | undefined;
  /** Resolves with the stored message; rejects if it is refused for good. */
  send(content: string, options?: { id?: string; kind?: string; attachments?: string[] }): Promise<Message>;
  /** Takes back what waits to be sent. True if it was never put on a connection; `send` then rejects with `withdrawn`. */
  withdraw(id: string): boolean;
  /** Changes an own message. Resolves with it. */
  edit(id: string, content: string): Promise<Message>;
  /** Deletes an own message for everybody. */
  delete(id: string): Promise<void>;
  read(ids: string[]): Promise<void>;
  receipts(ids: string[]): Promise<Receipt[]>;
  /** These four change a group, which an owner may do, and resolve with it. */
  invite(users: string[]): Promise<Group>;
  remove(user: string): Promise<Group>;
  rename(name: string): Promise<Group>;
  assign(user: string, role: Role): Promise<Group>;
  /** Leaves the group for good. */
  quit(): Promise<void>;
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
export type Feature = 'edit' | 'presence' | 'receipts' | 'groups' | 'attachments' | 'conversations';

export interface ClientEvents {
  state: State;
  open: { user: string | null; time: string; limits: Record<string, number>; features?: string[] };
  /** The user has become a member of a group, or is none any more. */
  membership: Membership;
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
  /** Bounds that the server has said; empty before the first connection. */
  readonly limits: Record<string, number>;
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
  /** Makes a group of the user and others; once under the same key. */
  create(name: string, members: string[], key?: string): Promise<ConversationSummary>;
  /** Resolves with the numbers of unread messages by conversation. */
  unread(ids: string[]): Promise<Map<string, number>>;
  renew(token: string): void;
  /** Connects now if a retry is due, else asks for a sign of life. */
  wake(): void;
  close(): void;
}

/** An attachment with addresses that can be read without anything else, for `expires_s` seconds. */
export interface Link extends Attachment { url: string; thumbnail_url?: string; expires_s: number }

/** Uploads files, which `Conversation.send` then sends, and asks for links to them. */
export class ChatFiles {
  /** `api`: the address of the REST API, as `https://host/api/v1/`. */
  constructor(api: string, options?: { user?: string; headers?: (method: string) => Record<string, string> });
  upload(file: Blob, options?: { name?: string; onProgress?: (part: number) => void; signal?: AbortSignal }): Promise<Attachment>;
  /** Links by id, of the attachments that the user may read. */
  links(ids: string[]): Promise<Map<string, Link>>;
}
