//! msgpack as `msgpack.packb` writes it and `msgpack.unpackb(raw=False)` reads it.
//!
//! Written: always the shortest form, floats as 64 bits. Read: every form there is, but what
//! Python refuses is refused here too: other map keys than texts and bytes, texts that are not
//! UTF-8, anything after the value, and timestamps of an impossible length. Depth and number of
//! values are bounded as those of JSON.
//!
//! The `rmp` crate knows the bytes of the format. Building values is done here and not by serde:
//! there nesting takes the stack, and a value has no integers of 128 bits and no repeated keys.

use std::collections::HashMap;

use rmp::{Marker, encode};

use super::{
    MAX_SENT_DEPTH, Unsendable,
    item::{Item, ItemKey},
};
use crate::{
    python::json::{MAX_DEPTH, MAX_VALUES},
    value::{Text, Value, ValueRef},
};

/// Maps with more members than this find repeated keys by hash.
const SMALL_MAP: usize = 8;

/// The extension of timestamps.
const TIMESTAMP: u8 = 0xFF;

/// Appends a value that JSON could hold too.
///
/// # Errors
/// For what no Python process could read.
pub fn write(out: &mut Vec<u8>, value: &Value) -> Result<(), Unsendable> {
    write_at(out, value, MAX_SENT_DEPTH)
}

fn write_at(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), Unsendable> {
    let depth = depth.checked_sub(1).ok_or(Unsendable::TooDeep)?;
    match value {
        Value::Null => never_fails(encode::write_nil(out)),
        Value::Bool(flag) => never_fails(encode::write_bool(out, *flag)),
        Value::Int(int) => write_int(out, *int)?,
        Value::BigInt(_) => return Err(Unsendable::OutOfRange),
        Value::Float(float) => never_fails(encode::write_f64(out, *float)),
        Value::Str(Text::Utf8(text)) => write_str(out, text),
        Value::Str(Text::Surrogates(_)) => return Err(Unsendable::Surrogates),
        Value::List(items) => {
            write_list_head(out, items.len());
            for item in items {
                write_at(out, item, depth)?;
            }
        }
        Value::Map(members) => {
            write_map_head(out, members.len());
            for (key, item) in members {
                write_str(out, key.as_str().ok_or(Unsendable::Surrogates)?);
                write_at(out, item, depth)?;
            }
        }
    }
    Ok(())
}

/// Appends a value that borrows its parts.
///
/// # Errors
/// As [`write()`].
pub fn write_ref(out: &mut Vec<u8>, value: ValueRef<'_>) -> Result<(), Unsendable> {
    write_ref_at(out, value, MAX_SENT_DEPTH)
}

fn write_ref_at(out: &mut Vec<u8>, value: ValueRef<'_>, depth: usize) -> Result<(), Unsendable> {
    match value {
        ValueRef::Text(text) => write_str(out, text),
        ValueRef::Bool(flag) => never_fails(encode::write_bool(out, flag)),
        ValueRef::Value(value) => return write_at(out, value, depth),
        ValueRef::Map(members) => {
            let depth = depth.checked_sub(1).ok_or(Unsendable::TooDeep)?;
            write_map_head(out, members.len());
            for (name, value) in members {
                write_str(out, name);
                write_ref_at(out, *value, depth)?;
            }
        }
    }
    Ok(())
}

/// Drops the outcome of an append to memory, which has no way to fail.
fn never_fails<T, E>(_: Result<T, E>) {}

/// Returns a length as the format has it. Nothing of 4 GiB gets this far.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Appends a text.
pub fn write_str(out: &mut Vec<u8>, text: &str) {
    never_fails(encode::write_str(out, text));
}

/// Appends the head of a list of `len` items.
pub fn write_list_head(out: &mut Vec<u8>, len: usize) {
    never_fails(encode::write_array_len(out, length(len)));
}

/// Appends the head of a map of `len` members.
pub fn write_map_head(out: &mut Vec<u8>, len: usize) {
    never_fails(encode::write_map_len(out, length(len)));
}

/// Writes the shortest form, unsigned from zero up.
fn write_int(out: &mut Vec<u8>, int: i128) -> Result<(), Unsendable> {
    match (u64::try_from(int), i64::try_from(int)) {
        (Ok(int), _) => never_fails(encode::write_uint(out, int)),
        (_, Ok(int)) => never_fails(encode::write_sint(out, int)),
        _ => return Err(Unsendable::OutOfRange),
    }
    Ok(())
}

/// Appends any value; the lengths of its extensions are written as Python writes them.
///
/// # Errors
/// As [`write()`].
pub fn write_item(out: &mut Vec<u8>, item: &Item) -> Result<(), Unsendable> {
    match item {
        Item::Plain(value) => write(out, value)?,
        Item::Bytes(bytes) => never_fails(encode::write_bin(out, bytes)),
        Item::Ext(code, bytes) => {
            never_fails(encode::write_ext_meta(out, length(bytes.len()), *code));
            out.extend_from_slice(bytes);
        }
        Item::List(items) => {
            write_list_head(out, items.len());
            for item in items {
                write_item(out, item)?;
            }
        }
        Item::Map(members) => {
            write_map_head(out, members.len());
            for (key, item) in members {
                match key {
                    ItemKey::Text(key) => write_str(out, key),
                    ItemKey::Bytes(key) => never_fails(encode::write_bin(out, key)),
                }
                write_item(out, item)?;
            }
        }
    }
    Ok(())
}

/// Reads one value, the whole of `bytes`.
///
/// # Errors
/// Errors for what Python would refuse.
pub fn read(bytes: &[u8]) -> Result<Item, &'static str> {
    let mut reader = MsgpackReader {
        rest: bytes,
        values: 0,
    };
    let item = reader.item()?;
    if reader.rest.is_empty() {
        Ok(item)
    } else {
        Err("bytes after the end")
    }
}

struct MsgpackReader<'a> {
    rest: &'a [u8],
    /// Number of values that have begun.
    values: usize,
}

type Read<T> = Result<T, &'static str>;

/// Kind of value that a byte begins.
enum BegunItem {
    /// Nothing: this is all of it.
    Item(Item),
    /// Number of items.
    List(usize),
    /// Number of members.
    Map(usize),
}

/// A list or map whose end has not been reached. Lengths are the sender's word, and nothing is
/// reserved for them: each item takes a byte at least.
enum OpenItem {
    List {
        left: usize,
        items: Vec<Item>,
    },
    Map {
        left: usize,
        members: MapMembers,
        key: ItemKey,
    },
}

/// The members of a map. As in a dict, a repeated key keeps its place and takes the last value.
#[derive(Default)]
struct MapMembers {
    list: Vec<(ItemKey, Item)>,
    /// Index of keys, kept once there are more than [`SMALL_MAP`].
    places: HashMap<ItemKey, usize>,
}

impl MapMembers {
    fn set(&mut self, key: ItemKey, item: Item) {
        let place = if self.list.len() <= SMALL_MAP {
            self.list.iter().position(|(known, _)| *known == key)
        } else {
            let new = self.list.iter().enumerate().skip(self.places.len());
            self.places
                .extend(new.map(|(place, (key, _))| (key.clone(), place)));
            self.places.get(&key).copied()
        };
        match place.and_then(|place| self.list.get_mut(place)) {
            Some(member) => member.1 = item,
            None => self.list.push((key, item)),
        }
    }
}

impl<'a> MsgpackReader<'a> {
    /// Reads a value of any kind. Containers wait on a list of our own, so that nesting takes no
    /// stack.
    fn item(&mut self) -> Read<Item> {
        let mut open: Vec<OpenItem> = Vec::new();
        loop {
            let mut done = match self.begin()? {
                BegunItem::Item(item) => item,
                BegunItem::List(0) => Item::list(Vec::new()),
                BegunItem::Map(0) => Item::map(Vec::new()),
                _ if open.len() == MAX_DEPTH => return Err("nested too deep"),
                BegunItem::List(left) => {
                    open.push(OpenItem::List {
                        left,
                        items: Vec::new(),
                    });
                    continue;
                }
                BegunItem::Map(left) => {
                    let key = self.key()?;
                    open.push(OpenItem::Map {
                        left,
                        members: MapMembers::default(),
                        key,
                    });
                    continue;
                }
            };
            loop {
                let Some(container) = open.pop() else {
                    return Ok(done);
                };
                match self.fill(container, done)? {
                    Ok(whole) => done = whole,
                    Err(container) => {
                        open.push(container);
                        break;
                    }
                }
            }
        }
    }

    /// Puts an item into its container: the whole of it if that was the last, or what it is now.
    fn fill(&mut self, container: OpenItem, item: Item) -> Read<Result<Item, OpenItem>> {
        Ok(match container {
            OpenItem::List { left, mut items } => {
                items.push(item);
                match left - 1 {
                    0 => Ok(Item::list(items)),
                    left => Err(OpenItem::List { left, items }),
                }
            }
            OpenItem::Map {
                left,
                mut members,
                key,
            } => {
                members.set(key, item);
                match left - 1 {
                    0 => Ok(Item::map(members.list)),
                    left => Err(OpenItem::Map {
                        left,
                        members,
                        key: self.key()?,
                    }),
                }
            }
        })
    }

    fn begin(&mut self) -> Read<BegunItem> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err("too many values");
        }
        let item = match self.marker()? {
            Marker::FixMap(len) => return Ok(BegunItem::Map(len.into())),
            Marker::Map16 => return self.u16().map(BegunItem::Map),
            Marker::Map32 => return self.u32().map(BegunItem::Map),
            Marker::FixArray(len) => return Ok(BegunItem::List(len.into())),
            Marker::Array16 => return self.u16().map(BegunItem::List),
            Marker::Array32 => return self.u32().map(BegunItem::List),
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => self.u8().and_then(|len| self.ext(len))?,
            Marker::Ext16 => self.u16().and_then(|len| self.ext(len))?,
            Marker::Ext32 => self.u32().and_then(|len| self.ext(len))?,
            Marker::FixStr(len) => self.text(len.into())?,
            Marker::Str8 => self.u8().and_then(|len| self.text(len))?,
            Marker::Str16 => self.u16().and_then(|len| self.text(len))?,
            Marker::Str32 => self.u32().and_then(|len| self.text(len))?,
            Marker::Bin8 => Item::Bytes(self.u8().and_then(|len| self.bytes(len))?.to_vec()),
            Marker::Bin16 => Item::Bytes(self.u16().and_then(|len| self.bytes(len))?.to_vec()),
            Marker::Bin32 => Item::Bytes(self.u32().and_then(|len| self.bytes(len))?.to_vec()),
            marker => Item::Plain(self.scalar(marker)?),
        };
        Ok(BegunItem::Item(item))
    }

    fn scalar(&mut self, marker: Marker) -> Read<Value> {
        Ok(match marker {
            Marker::FixPos(int) => Value::Int(int.into()),
            Marker::FixNeg(int) => Value::Int(int.into()),
            Marker::Null => Value::Null,
            Marker::True => Value::Bool(true),
            Marker::False => Value::Bool(false),
            Marker::F32 => Value::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Value::Float(f64::from_be_bytes(self.array()?)),
            Marker::U8 => Value::Int(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Value::Int(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Value::Int(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Value::Int(u64::from_be_bytes(self.array()?).into()),
            Marker::I8 => Value::Int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Value::Int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Value::Int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Value::Int(i64::from_be_bytes(self.array()?).into()),
            _ => return Err("a byte that begins nothing"),
        })
    }

    fn marker(&mut self) -> Read<Marker> {
        self.array().map(|[byte]| Marker::from_u8(byte))
    }

    fn bytes(&mut self, len: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("cut short")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("cut short")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Read<usize> {
        Ok(u8::from_be_bytes(self.array()?).into())
    }

    fn u16(&mut self) -> Read<usize> {
        Ok(u16::from_be_bytes(self.array()?).into())
    }

    fn u32(&mut self) -> Read<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| "too long")
    }

    fn str(&mut self, len: usize) -> Read<String> {
        let text = str::from_utf8(self.bytes(len)?).map_err(|_| "a text that is not UTF-8")?;
        Ok(text.to_owned())
    }

    fn text(&mut self, len: usize) -> Read<Item> {
        Ok(Item::Plain(Value::Str(self.str(len)?.into())))
    }

    fn ext(&mut self, len: usize) -> Read<Item> {
        let [code] = self.array()?;
        if code == TIMESTAMP && !matches!(len, 4 | 8 | 12) {
            return Err("a timestamp of an impossible length");
        }
        Ok(Item::Ext(code.cast_signed(), self.bytes(len)?.to_vec()))
    }

    fn key(&mut self) -> Read<ItemKey> {
        Ok(match self.marker()? {
            Marker::FixStr(len) => ItemKey::Text(self.str(len.into())?),
            Marker::Str8 => ItemKey::Text(self.u8().and_then(|len| self.str(len))?),
            Marker::Str16 => ItemKey::Text(self.u16().and_then(|len| self.str(len))?),
            Marker::Str32 => ItemKey::Text(self.u32().and_then(|len| self.str(len))?),
            Marker::Bin8 => ItemKey::Bytes(self.u8().and_then(|len| self.bytes(len))?.to_vec()),
            Marker::Bin16 => ItemKey::Bytes(self.u16().and_then(|len| self.bytes(len))?.to_vec()),
            Marker::Bin32 => ItemKey::Bytes(self.u32().and_then(|len| self.bytes(len))?.to_vec()),
            _ => return Err("a map key that is no text"),
        })
    }
}
