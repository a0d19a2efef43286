CREATE TABLE "chatferry_conversations" ("id" char(32) NOT NULL PRIMARY KEY, "name" varchar(100) NOT NULL, "version" bigint NOT NULL, "member_ids" text NOT NULL, "created_at" datetime NOT NULL, "updated_at" datetime NOT NULL, "is_active" bool NOT NULL);
CREATE TABLE "chatferry_members" ("conversation_id" char(32) NOT NULL, "user_id" varchar(255) NOT NULL, "role" varchar(10) NOT NULL, "joined_at" datetime NOT NULL, PRIMARY KEY ("conversation_id", "user_id"));
CREATE INDEX "chatferry_members_user" ON "chatferry_members" ("user_id", "conversation_id");
CREATE TABLE "chatferry_messages" ("id" char(32) NOT NULL PRIMARY KEY, "conversation_id" char(32) NOT NULL, "sender_id" varchar(255) NOT NULL, "content" text NOT NULL, "message_type" varchar(10) NOT NULL, "created_at" datetime NOT NULL, "updated_at" datetime NOT NULL, "is_deleted" bool NOT NULL);
CREATE INDEX "chatferry_messages_conversation" ON "chatferry_messages" ("conversation_id", "created_at");
CREATE TABLE "chatferry_receipts" ("id" char(32) NOT NULL PRIMARY KEY, "message_id" char(32) NOT NULL, "user_id" varchar(255) NOT NULL, "status" varchar(10) NOT NULL, "timestamp" datetime NOT NULL);
CREATE UNIQUE INDEX "chatferry_receipts_message_user" ON "chatferry_receipts" ("message_id", "user_id");
