CREATE TABLE "chatferry_attachments" ("id" char(32) NOT NULL PRIMARY KEY, "uploader_id" varchar(255) NOT NULL, "message_id" char(32) NULL, "name" varchar(255) NOT NULL, "media_type" varchar(100) NOT NULL, "size" bigint NOT NULL, "width" bigint NOT NULL, "height" bigint NOT NULL, "has_thumbnail" bool NOT NULL, "created_at" datetime NOT NULL);
CREATE INDEX "chatferry_attachments_uploader" ON "chatferry_attachments" ("uploader_id", "size");
CREATE INDEX "chatferry_attachments_message" ON "chatferry_attachments" ("message_id");
