//! The tables, as the original's migrations make them, and an index more. `"user"` is the main
//! application's and only read; where it is missing, as on an empty database, it is made, so that
//! names can be asked for.

/// Makes what is missing.
pub const MISSING: &str = "
CREATE TABLE IF NOT EXISTS \"user\" (
    id varchar(36) PRIMARY KEY, email varchar(255) UNIQUE NOT NULL, username varchar(50) NOT NULL,
    hashed_password varchar(255) NOT NULL, is_active boolean NOT NULL);
CREATE TABLE IF NOT EXISTS matching_chat_rooms (
    room_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), proposal_id uuid NOT NULL UNIQUE,
    room_name varchar(200) NOT NULL, display_mode varchar(10) NOT NULL, group_a_info json NOT NULL,
    group_b_info json NOT NULL, is_active boolean NOT NULL DEFAULT true,
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE IF NOT EXISTS matching_chat_members (
    member_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    room_id uuid NOT NULL REFERENCES matching_chat_rooms ON DELETE CASCADE,
    user_id varchar(36) NOT NULL REFERENCES \"user\"(id) ON DELETE CASCADE,
    group_label varchar(10) NOT NULL, member_index integer NOT NULL, anonymous_name varchar(20),
    is_active boolean NOT NULL DEFAULT true, last_read_at timestamp,
    joined_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, left_at timestamp,
    CONSTRAINT uq_matching_chat_members_room_user UNIQUE (room_id, user_id));
CREATE TABLE IF NOT EXISTS matching_messages (
    message_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    room_id uuid NOT NULL REFERENCES matching_chat_rooms ON DELETE CASCADE,
    sender_id varchar(36) NOT NULL REFERENCES \"user\"(id) ON DELETE CASCADE,
    message_type varchar(20) NOT NULL DEFAULT 'text', content text NOT NULL, attachments text[],
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, deleted_at timestamp);
CREATE TABLE IF NOT EXISTS matching_message_reads (
    read_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    message_id uuid REFERENCES matching_messages ON DELETE CASCADE,
    user_id varchar(36) REFERENCES \"user\"(id) ON DELETE CASCADE,
    read_at timestamp DEFAULT CURRENT_TIMESTAMP, UNIQUE (message_id, user_id));
CREATE INDEX IF NOT EXISTS idx_matching_messages_room ON matching_messages (room_id);
CREATE INDEX IF NOT EXISTS idx_matching_messages_created ON matching_messages (created_at DESC);
CREATE INDEX IF NOT EXISTS idx_matching_messages_sender ON matching_messages (sender_id);
CREATE INDEX IF NOT EXISTS idx_matching_chat_members_room ON matching_chat_members (room_id);
CREATE INDEX IF NOT EXISTS idx_matching_chat_members_user ON matching_chat_members (user_id);
CREATE INDEX IF NOT EXISTS idx_matching_chat_rooms_proposal ON matching_chat_rooms (proposal_id);
CREATE INDEX IF NOT EXISTS idx_matching_chat_rooms_active ON matching_chat_rooms (is_active);
CREATE INDEX IF NOT EXISTS idx_message_reads_user ON matching_message_reads (user_id);
CREATE INDEX IF NOT EXISTS idx_message_reads_message ON matching_message_reads (message_id);
";

/// Index of ours, for pages by cursor.
pub const INDEXES: [&str; 1] = ["CREATE INDEX CONCURRENTLY IF NOT EXISTS \
    idx_matching_messages_cursor ON matching_messages (room_id, created_at, message_id)"];
