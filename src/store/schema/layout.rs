//! A schema as the statements of one kind of database name it.

use super::{Column, ColumnKind, ColumnSource, MemberSource, Schema, Table};
use crate::{chat::Participants, store::StoreError, store::history::content};

/// Roles of a conversation, in the order in which statements read and write them.
pub const CONVERSATION: [&str; 6] = [
    "id",
    "participant1_id",
    "participant2_id",
    "created_at",
    "updated_at",
    "is_active",
];

/// Roles of a message, likewise.
pub const MESSAGE: [&str; 8] = [
    "id",
    "conversation_id",
    "sender_id",
    "content",
    "message_type",
    "created_at",
    "updated_at",
    "is_deleted",
];

/// Roles of a receipt, likewise.
pub const RECEIPT: [&str; 5] = ["id", "message_id", "user_id", "status", "timestamp"];

/// The columns of [`CONVERSATION`] as they are read.
pub const CONVERSATION_LIST: &str =
    "id, participant1_id, participant2_id, created_at, updated_at, is_active";

/// The columns of [`MESSAGE`] as they are read.
pub const MESSAGE_LIST: &str = concat!(
    "id, conversation_id, sender_id, ",
    content!(),
    ", message_type, created_at, updated_at, is_deleted"
);

/// The columns of [`RECEIPT`] as they are read.
pub const RECEIPT_LIST: &str = "id, message_id, user_id, status, timestamp";

/// A database's spelling of what differs.
#[derive(Clone, Copy, Debug)]
pub struct Spelling {
    /// Stands around names.
    pub quote: char,
    /// Type that makes a text of a number.
    pub text: &'static str,
    /// Type that makes a number of a text, unless the database does so by itself.
    pub number: Option<&'static str>,
    /// Aggregate that makes a JSON list of texts.
    pub list: &'static str,
    /// Column that every table has besides its own.
    pub hidden: Option<&'static str>,
}

/// A value of a row that an `INSERT` takes.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Index of its role among those of the row.
    pub place: usize,
    /// Name of the column.
    pub name: &'static str,
    pub kind: ColumnKind,
}

/// The tables of a chat in one database. What statements read from stands for a table, and needs an
/// alias.
#[derive(Clone, Debug)]
pub struct Layout {
    pub schema: Schema,
    pub conversations: String,
    pub messages: String,
    pub receipts: String,
    spelling: Spelling,
}

impl Layout {
    #[must_use]
    pub fn new(schema: &Schema, spelling: Spelling) -> Self {
        let mut layout = Layout {
            schema: schema.clone(),
            conversations: String::new(),
            messages: String::new(),
            receipts: String::new(),
            spelling,
        };
        layout.conversations = layout.source(&schema.conversations);
        layout.messages = layout.source(&schema.messages);
        layout.receipts = layout.source(&schema.receipts);
        layout
    }

    /// Returns the name of a table or column as SQL.
    #[must_use]
    pub fn quoted(&self, name: &str) -> String {
        let quote = self.spelling.quote;
        format!("{quote}{name}{quote}")
    }

    /// Returns what stands for a table in a statement that reads.
    fn source(&self, table: &Table) -> String {
        let is_conversations = table.name == self.schema.conversations.name;
        let listed = match &self.schema.members {
            MemberSource::Listed(members) if is_conversations => Some(self.member_list(members)),
            _ => None,
        };
        let is_plain = |column: &Column| {
            let own = table.column(column.role);
            own.is_some_and(|(name, kind)| name == column.role && !is_converted(name, kind))
        };
        if listed.is_none() && table.columns.iter().all(is_plain) {
            return self.quoted(table.name.as_str());
        }
        let hidden = self
            .spelling
            .hidden
            .map(|name| format!("t.{name} AS {name}"));
        let columns = table.columns.iter().map(|column| {
            let read = self.read(column, "t");
            format!("{read} AS {}", column.role)
        });
        let all: Vec<String> = hidden.into_iter().chain(columns).chain(listed).collect();
        let name = self.quoted(table.name.as_str());
        format!("(SELECT {} FROM {name} AS t)", all.join(", "))
    }

    /// Returns the SQL that reads a role from a table under this alias.
    fn read(&self, column: &Column, alias: &str) -> String {
        let (name, kind) = match column.source {
            ColumnSource::Constant(sql) => return sql.to_owned(),
            ColumnSource::Column { name, kind } => (self.quoted(name), kind),
        };
        match kind {
            ColumnKind::Number if is_user(column.role) => {
                format!("CAST({alias}.{name} AS {})", self.spelling.text)
            }
            ColumnKind::Time if is_flag(column.role) => format!("({alias}.{name} IS NOT NULL)"),
            _ => format!("{alias}.{name}"),
        }
    }

    /// Returns the SQL that reads some roles from a table under this alias.
    #[must_use]
    pub fn reading(&self, table: &Table, alias: &str, roles: &[&str]) -> String {
        let columns = roles.iter().map(|role| {
            let column = table.columns.iter().find(|column| column.role == *role);
            column.map_or_else(|| "NULL".to_owned(), |column| self.read(column, alias))
        });
        columns.collect::<Vec<_>>().join(", ")
    }

    /// Returns what [`participants`] reads: a JSON list of the members, and NULL.
    fn member_list(&self, members: &Table) -> String {
        let Spelling { list, text, .. } = self.spelling;
        let user = self.quoted(members.name_of("user_id"));
        format!(
            "COALESCE((SELECT CAST({list}(CAST(x.{user} AS {text})) AS {text}) FROM {} AS x \
             WHERE x.{} = t.{}), '[]') AS participant1_id, NULL AS participant2_id",
            self.quoted(members.name.as_str()),
            self.quoted(members.name_of("conversation_id")),
            self.quoted(self.schema.conversations.name_of("id")),
        )
    }

    /// Returns the condition that a user, which is given as SQL of a text, takes part in a
    /// conversation.
    #[must_use]
    pub fn has_member(&self, user: &str) -> String {
        let (MemberSource::Listed(members) | MemberSource::Kept(members)) = &self.schema.members
        else {
            return format!("(participant1_id = {user} OR participant2_id = {user})");
        };
        format!(
            "id IN (SELECT x.{} FROM {} AS x WHERE x.{} = {})",
            self.quoted(members.name_of("conversation_id")),
            self.quoted(members.name.as_str()),
            self.quoted(members.name_of("user_id")),
            self.value(user, members.column("user_id").map(|(_, kind)| kind))
        )
    }

    /// Returns a text, which is given as SQL, as a value of this kind.
    #[must_use]
    pub fn value(&self, text: &str, kind: Option<ColumnKind>) -> String {
        match (kind, self.spelling.number) {
            (Some(ColumnKind::Number), Some(number)) => format!("CAST({text} AS {number})"),
            _ => text.to_owned(),
        }
    }

    /// Returns the values of a row that an `INSERT` takes, of those with these roles. Ids that the
    /// database makes are not among them, nor is a flag that is a time.
    #[must_use]
    pub fn written(&self, table: &Table, roles: &[&str]) -> Vec<Written> {
        let taken = roles.iter().enumerate().filter_map(|(place, role)| {
            let (name, kind) = table.column(role)?;
            let is_made = *role == "id" && kind == ColumnKind::Number;
            let is_dated = kind == ColumnKind::Time && is_flag(role);
            (!is_made && !is_dated).then_some(Written { place, name, kind })
        });
        taken.collect()
    }

    /// Returns the names of these columns, as SQL.
    #[must_use]
    pub fn names(&self, written: &[Written]) -> String {
        let names = written.iter().map(|it| self.quoted(it.name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Returns the table that a row is written into, as SQL.
    #[must_use]
    pub fn table(&self, table: &Table) -> String {
        self.quoted(table.name.as_str())
    }

    /// Returns the condition that the sender of a message is a member, both given as SQL; `None` if
    /// that is not asked.
    #[must_use]
    pub fn is_member(&self, conversation: &str, user: &str) -> Option<String> {
        let MemberSource::Kept(members) = &self.schema.members else {
            return None;
        };
        Some(format!(
            "SELECT 1 FROM {} AS x WHERE x.conversation_id = {conversation} AND x.user_id = {user}",
            self.table(members)
        ))
    }

    /// Fails unless conversations are those of two people, which can be found and made by their
    /// names.
    ///
    /// # Errors
    /// [`StoreError::Schema`]
    pub fn require_pairs(&self) -> Result<(), StoreError> {
        match &self.schema.members {
            MemberSource::Pair => Ok(()),
            MemberSource::Listed(members) | MemberSource::Kept(members) => {
                Err(StoreError::Schema(format!(
                    "the members of a conversation are in table {}: it is not one of two",
                    members.name
                )))
            }
        }
    }
}

/// Returns whether a value is read as something else than what its column holds.
fn is_converted(role: &str, kind: ColumnKind) -> bool {
    match kind {
        ColumnKind::Number => is_user(role),
        ColumnKind::Time => is_flag(role),
        _ => false,
    }
}

fn is_user(role: &str) -> bool {
    matches!(
        role,
        "sender_id" | "user_id" | "participant1_id" | "participant2_id"
    )
}

fn is_flag(role: &str) -> bool {
    role.starts_with("is_")
}

/// Reads the participants of a conversation from its two columns: a pair, or a JSON list and NULL.
///
/// # Errors
/// [`StoreError::Schema`] if the list cannot be read.
pub fn participants(first: String, second: Option<String>) -> Result<Participants, StoreError> {
    if let Some(second) = second {
        return Ok(Participants::Pair([first, second]));
    }
    let mut many: Vec<String> = serde_json::from_str(&first)
        .map_err(|error| StoreError::Schema(format!("the members are unreadable: {error}")))?;
    many.sort_unstable();
    Ok(Participants::Many(many))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::TableName, store::schema::TableOrigin};

    const SPELLING: Spelling = Spelling {
        quote: '"',
        text: "text",
        number: Some("bigint"),
        list: "json_agg",
        hidden: None,
    };

    const ROOMS: &[Column] = &[
        Column::new("id", ColumnKind::Number),
        Column::named("created_at", "opened", ColumnKind::Time),
        Column::constant("updated_at", "opened"),
        Column::named("is_active", "opened", ColumnKind::Time),
    ];
    const MEMBERS: &[Column] = &[
        Column::named("conversation_id", "room", ColumnKind::Number),
        Column::named("user_id", "person", ColumnKind::Number),
    ];
    const WORDS: &[Column] = &[
        Column::new("id", ColumnKind::Number),
        Column::named("sender_id", "person", ColumnKind::Number),
        Column::named("content", "text", ColumnKind::Text),
        Column::named("is_deleted", "deleted", ColumnKind::Time),
    ];
    const SEEN: &[Column] = &[Column::new("id", ColumnKind::Uuid)];

    fn layout() -> Layout {
        let table = |name: &str, columns| {
            let name = TableName::try_from(name.to_owned()).unwrap();
            Table::new(&name, columns)
        };
        let schema = Schema {
            conversations: table("rooms", ROOMS),
            members: MemberSource::Listed(table("people", MEMBERS)),
            messages: table("words", WORDS),
            receipts: table("seen", SEEN),
            origin: TableOrigin::Elsewhere("others make them"),
            changes: None,
            outbox: None,
            attachments: None,
            groups: None,
        };
        Layout::new(&schema, SPELLING)
    }

    #[test]
    fn columns_of_other_names_are_read_by_their_roles() {
        let layout = layout();
        assert_eq!(
            layout.messages,
            "(SELECT t.\"id\" AS id, CAST(t.\"person\" AS text) AS sender_id, t.\"text\" AS content, \
             (t.\"deleted\" IS NOT NULL) AS is_deleted FROM \"words\" AS t)"
        );
        assert_eq!(layout.receipts, "\"seen\"");
        assert!(layout.conversations.ends_with(
            "COALESCE((SELECT CAST(json_agg(CAST(x.\"person\" AS text)) AS text) FROM \"people\" AS x \
             WHERE x.\"room\" = t.\"id\"), '[]') AS participant1_id, NULL AS participant2_id \
             FROM \"rooms\" AS t)"
        ));
    }

    #[test]
    fn what_the_database_makes_is_not_written() {
        let layout = layout();
        let written = layout.written(&layout.schema.messages, &MESSAGE);
        assert_eq!(layout.names(&written), "\"person\", \"text\"");
        let written = layout.written(&layout.schema.receipts, &RECEIPT);
        assert_eq!(layout.names(&written), "\"id\"");
    }

    #[test]
    fn members_of_a_table_are_a_sorted_list() {
        let many = participants(r#"["b","a","c"]"#.to_owned(), None).unwrap();
        assert_eq!(many.as_slice(), ["a", "b", "c"]);
        let pair = participants("b".to_owned(), Some("a".to_owned())).unwrap();
        assert_eq!(pair.as_slice(), ["b", "a"]);
        assert!(participants("b".to_owned(), None).is_err());
    }
}
