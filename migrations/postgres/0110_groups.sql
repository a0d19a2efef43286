CREATE TABLE "chatferry_conversations" ("id" uuid NOT NULL PRIMARY KEY, "name" varchar(100) NOT NULL, "version" bigint NOT NULL, "member_ids" text NOT NULL, "created_at" timestamp with time zone NOT NULL, "updated_at" timestamp with time zone NOT NULL, "is_active" boolean NOT NULL);
CREATE TABLE "chatferry_members" ("conversation_id" uuid NOT NULL, "user_id" varchar(255) COLLATE "C" NOT NULL, "role" varchar(10) NOT NULL, "joined_at" timestamp with time zone NOT NULL, PRIMARY KEY ("conversation_id", "user_id"));
CREATE INDEX "chatferry_members_user" ON "chatferry_members" ("user_id", "conversation_id");
CREATE TABLE "chatferry_messages" ("id" uuid NOT NULL PRIMARY KEY, "conversation_id" uuid NOT NULL, "sender_id" varchar(255) COLLATE "C" NOT NULL, "content" text NOT NULL, "message_type" varchar(10) NOT NULL, "created_at" timestamp with time zone NOT NULL, "updated_at" timestamp with time zone NOT NULL, "is_deleted" boolean NOT NULL);
CREATE INDEX "chatferry_messages_conversation" ON "chatferry_messages" ("conversation_id", "created_at");
CREATE TABLE "chatferry_receipts" ("id" uuid NOT NULL PRIMARY KEY, "message_id" uuid NOT NULL, "user_id" varchar(255) COLLATE "C" NOT NULL, "status" varchar(10) NOT NULL, "timestamp" timestamp with time zone NOT NULL);
CREATE UNIQUE INDEX "chatferry_receipts_message_user" ON "chatferry_receipts" ("message_id", "user_id");
