CREATE TABLE "chatferry_changes" ("id" uuid NOT NULL PRIMARY KEY, "conversation_id" uuid NOT NULL, "message_id" uuid NOT NULL, "changed_at" timestamp with time zone NOT NULL);
CREATE INDEX "chatferry_changes_conversation" ON "chatferry_changes" ("conversation_id", "changed_at");
CREATE INDEX "chatferry_changes_changed_at" ON "chatferry_changes" ("changed_at");
