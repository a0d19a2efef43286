CREATE TABLE "chatferry_changes" ("id" char(32) NOT NULL PRIMARY KEY, "conversation_id" char(32) NOT NULL, "message_id" char(32) NOT NULL, "changed_at" datetime NOT NULL);
CREATE INDEX "chatferry_changes_conversation" ON "chatferry_changes" ("conversation_id", "changed_at");
CREATE INDEX "chatferry_changes_changed_at" ON "chatferry_changes" ("changed_at");
