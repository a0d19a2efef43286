//! The tables, as the original's `create_all` makes them, and two indexes more.

/// Makes what is missing.
pub const MISSING: &str = "
CREATE TABLE IF NOT EXISTS users (
    id serial PRIMARY KEY, username varchar(50) NOT NULL, email varchar(255) NOT NULL,
    hashed_password varchar(255) NOT NULL, is_active boolean, created_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS chat_rooms (
    id serial PRIMARY KEY, name varchar(100), is_group boolean,
    created_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS participants (
    user_id integer NOT NULL REFERENCES users(id), chat_id integer NOT NULL REFERENCES chat_rooms(id),
    PRIMARY KEY (user_id, chat_id));
CREATE TABLE IF NOT EXISTS messages (
    id serial PRIMARY KEY, chat_id integer REFERENCES chat_rooms(id),
    sender_id integer REFERENCES users(id), content varchar(2000) NOT NULL, read_at timestamptz,
    created_at timestamptz DEFAULT now(), is_deleted boolean NOT NULL DEFAULT false,
    is_edited boolean NOT NULL DEFAULT false);
CREATE TABLE IF NOT EXISTS message_deliveries (
    id serial PRIMARY KEY, message_id integer NOT NULL REFERENCES messages(id),
    user_id integer NOT NULL REFERENCES users(id), delivered_at timestamptz,
    CONSTRAINT uix_message_delivery_user UNIQUE (message_id, user_id));
CREATE TABLE IF NOT EXISTS message_reads (
    id serial PRIMARY KEY, message_id integer NOT NULL REFERENCES messages(id),
    user_id integer NOT NULL REFERENCES users(id), read_at timestamp,
    CONSTRAINT uix_message_user UNIQUE (message_id, user_id));
CREATE TABLE IF NOT EXISTS message_edits (
    id serial PRIMARY KEY, message_id integer NOT NULL REFERENCES messages(id),
    user_id integer NOT NULL REFERENCES users(id), old_content varchar(2000) NOT NULL,
    new_content varchar(2000) NOT NULL, edited_at timestamp);
CREATE INDEX IF NOT EXISTS ix_users_id ON users (id);
CREATE UNIQUE INDEX IF NOT EXISTS ix_users_username ON users (username);
CREATE UNIQUE INDEX IF NOT EXISTS ix_users_email ON users (email);
CREATE INDEX IF NOT EXISTS ix_chat_rooms_id ON chat_rooms (id);
CREATE INDEX IF NOT EXISTS ix_messages_id ON messages (id);
CREATE INDEX IF NOT EXISTS ix_messages_chat_id ON messages (chat_id);
CREATE INDEX IF NOT EXISTS ix_messages_sender_id ON messages (sender_id);
CREATE INDEX IF NOT EXISTS ix_message_deliveries_id ON message_deliveries (id);
CREATE INDEX IF NOT EXISTS ix_message_deliveries_message_id ON message_deliveries (message_id);
CREATE INDEX IF NOT EXISTS ix_message_deliveries_user_id ON message_deliveries (user_id);
CREATE INDEX IF NOT EXISTS ix_message_reads_id ON message_reads (id);
CREATE INDEX IF NOT EXISTS ix_message_edits_id ON message_edits (id);
CREATE INDEX IF NOT EXISTS ix_message_edits_message_id ON message_edits (message_id);
";

/// Indexes of ours: without them the messages that wait for a user, and the newest of a chat, are
/// looked for among all.
pub const INDEXES: [&str; 2] = [
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_messages_chat_id_id ON messages (chat_id, id)",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_message_deliveries_due
        ON message_deliveries (user_id, message_id) WHERE delivered_at IS NULL",
];
