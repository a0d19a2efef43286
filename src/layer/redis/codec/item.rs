//! Values in messages of Django code that JSON cannot hold: bytes, and the extension types of
//! msgpack.
//!
//! Most messages have nothing of the kind, so everything JSON could hold is a plain [`Value`], and
//! only what contains bytes or an extension is built of items.

use crate::value::{Text, Value};

/// A value as `msgpack.unpackb` would build it.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Everything that JSON has too.
    Plain(Value),
    Bytes(Vec<u8>),
    /// An extension type; code -1 is a timestamp.
    Ext(i8, Vec<u8>),
    List(Vec<Item>),
    /// Keys are unique.
    Map(Vec<(ItemKey, Item)>),
}

/// A key of a map: Python takes both of these and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ItemKey {
    Text(String),
    Bytes(Vec<u8>),
}

impl Item {
    /// Reads a list; plain if all its items are.
    #[must_use]
    pub fn list(items: Vec<Item>) -> Self {
        if items.iter().all(Item::is_plain) {
            let values = items.into_iter().filter_map(Item::into_value);
            return Item::Plain(Value::List(values.collect()));
        }
        Item::List(items)
    }

    /// Reads a map of unique keys; plain if all in it is.
    #[must_use]
    pub fn map(members: Vec<(ItemKey, Item)>) -> Self {
        let is_plain =
            |(key, item): &(ItemKey, Item)| matches!(key, ItemKey::Text(_)) && item.is_plain();
        if !members.iter().all(is_plain) {
            return Item::Map(members);
        }
        let value = |(key, item)| match (key, item) {
            (ItemKey::Text(key), Item::Plain(value)) => Some((Text::from(key), value)),
            _ => None,
        };
        Item::Plain(Value::Map(members.into_iter().filter_map(value).collect()))
    }

    fn is_plain(&self) -> bool {
        matches!(self, Item::Plain(_))
    }

    /// Returns the value, if JSON can hold it.
    #[must_use]
    pub fn into_value(self) -> Option<Value> {
        match self {
            Item::Plain(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the members of a map, without those whose keys are bytes; `None` for anything else.
    #[must_use]
    pub fn into_members(self) -> Option<Vec<(Text, Item)>> {
        match self {
            Item::Plain(Value::Map(members)) => Some(
                members
                    .into_iter()
                    .map(|(key, value)| (key, Item::Plain(value)))
                    .collect(),
            ),
            Item::Map(members) => Some(
                members
                    .into_iter()
                    .filter_map(|(key, item)| match key {
                        ItemKey::Text(key) => Some((Text::from(key), item)),
                        ItemKey::Bytes(_) => None,
                    })
                    .collect(),
            ),
            _ => None,
        }
    }
}
