//! msgpack as `msgpack.packb` writes it and `msgpack.unpackb(raw=False)` reads it.
//!
//! Written: always the shortest form, floats as 64 bits. Read: every form there is, but what
//! Python refuses is refused here too: other map keys than texts and bytes, texts that are not
//! UTF-8, anything after the value, and timestamps of an impossible length. Depth and number of
//! values are bounded as those of JSON.

use std::collections::HashMap;

use super::{
    MAX_SENT_DEPTH, Unsendable,
    item::{Item, Key},
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
        Value::Null => out.push(0xC0),
        Value::Bool(flag) => write_bool(out, *flag),
        Value::Int(int) => write_int(out, *int)?,
        Value::BigInt(_) => return Err(Unsendable::OutOfRange),
        Value::Float(float) => {
            out.push(0xCB);
            out.extend(float.to_be_bytes());
        }
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
        ValueRef::Bool(flag) => write_bool(out, flag),
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

fn write_bool(out: &mut Vec<u8>, flag: bool) {
    out.push(0xC2 + u8::from(flag));
}

/// Appends a text.
pub fn write_str(out: &mut Vec<u8>, text: &str) {
    write_head(
        out,
        text.len(),
        Some((0xA0, 31)),
        [Some(0xD9), Some(0xDA), Some(0xDB)],
    );
    out.extend_from_slice(text.as_bytes());
}

/// Appends the head of a list of `len` items.
pub fn write_list_head(out: &mut Vec<u8>, len: usize) {
    write_head(out, len, Some((0x90, 15)), [None, Some(0xDC), Some(0xDD)]);
}

/// Appends bytes.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_head(out, bytes.len(), None, [Some(0xC4), Some(0xC5), Some(0xC6)]);
    out.extend_from_slice(bytes);
}

/// Appends the head of a map of `len` members.
pub fn write_map_head(out: &mut Vec<u8>, len: usize) {
    write_head(out, len, Some((0x80, 15)), [None, Some(0xDE), Some(0xDF)]);
}

/// A type and a length in the shortest form: in one byte up to `fix`'s limit, then with a length of
/// 8, 16 or 32 bits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "each arm takes what fits; nothing of 4 GiB gets this far"
)]
fn write_head(out: &mut Vec<u8>, len: usize, fix: Option<(u8, usize)>, wide: [Option<u8>; 3]) {
    match (fix, wide) {
        (Some((base, most)), _) if len <= most => out.push(base | len as u8),
        (_, [Some(byte), ..]) if len <= 0xFF => out.extend([byte, len as u8]),
        (_, [_, Some(byte), _]) if len <= 0xFFFF => {
            out.push(byte);
            out.extend((len as u16).to_be_bytes());
        }
        (_, [_, _, byte]) => {
            out.extend(byte);
            out.extend((len as u32).to_be_bytes());
        }
    }
}

/// Writes the shortest form, unsigned from zero up.
fn write_int(out: &mut Vec<u8>, int: i128) -> Result<(), Unsendable> {
    macro_rules! as_one_of {
        ($($ty:ty => $byte:literal),*) => {
            $(if let Ok(int) = <$ty>::try_from(int) {
                out.push($byte);
                out.extend(int.to_be_bytes());
                return Ok(());
            })*
        };
    }
    match int {
        0..=0x7F => out.extend(u8::try_from(int)),
        -32..=-1 => out.extend(i8::try_from(int).map(i8::cast_unsigned)),
        0x80.. => {
            as_one_of!(u8 => 0xCC, u16 => 0xCD, u32 => 0xCE, u64 => 0xCF);
            return Err(Unsendable::OutOfRange);
        }
        _ => {
            as_one_of!(i8 => 0xD0, i16 => 0xD1, i32 => 0xD2, i64 => 0xD3);
            return Err(Unsendable::OutOfRange);
        }
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
        Item::Bytes(bytes) => write_bytes(out, bytes),
        Item::Ext(code, bytes) => {
            match bytes.len() {
                len @ (1 | 2 | 4 | 8 | 16) => out.extend(u8::try_from(0xD4 + len.ilog2())),
                len => write_head(out, len, None, [Some(0xC7), Some(0xC8), Some(0xC9)]),
            }
            out.push(code.cast_unsigned());
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
                    Key::Text(key) => write_str(out, key),
                    Key::Bytes(key) => write_bytes(out, key),
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
    let mut reader = Reader {
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

struct Reader<'a> {
    rest: &'a [u8],
    /// Number of values that have begun.
    values: usize,
}

type Read<T> = Result<T, &'static str>;

/// Kind of value that a byte begins.
enum Begun {
    /// Nothing: this is all of it.
    Item(Item),
    /// Number of items.
    List(usize),
    /// Number of members.
    Map(usize),
}

/// A list or map whose end has not been reached. Lengths are the sender's word, and nothing is
/// reserved for them: each item takes a byte at least.
enum Open {
    List {
        left: usize,
        items: Vec<Item>,
    },
    Map {
        left: usize,
        members: Members,
        key: Key,
    },
}

/// The members of a map. As in a dict, a repeated key keeps its place and takes the last value.
#[derive(Default)]
struct Members {
    list: Vec<(Key, Item)>,
    /// Index of keys, kept once there are more than [`SMALL_MAP`].
    places: HashMap<Key, usize>,
}

impl Members {
    fn set(&mut self, key: Key, item: Item) {
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

impl<'a> Reader<'a> {
    /// Reads a value of any kind. Containers wait on a list of our own, so that nesting takes no
    /// stack.
    fn item(&mut self) -> Read<Item> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let mut done = match self.begin()? {
                Begun::Item(item) => item,
                Begun::List(0) => Item::list(Vec::new()),
                Begun::Map(0) => Item::map(Vec::new()),
                _ if open.len() == MAX_DEPTH => return Err("nested too deep"),
                Begun::List(left) => {
                    open.push(Open::List {
                        left,
                        items: Vec::new(),
                    });
                    continue;
                }
                Begun::Map(left) => {
                    let key = self.key()?;
                    open.push(Open::Map {
                        left,
                        members: Members::default(),
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
    fn fill(&mut self, container: Open, item: Item) -> Read<Result<Item, Open>> {
        Ok(match container {
            Open::List { left, mut items } => {
                items.push(item);
                match left - 1 {
                    0 => Ok(Item::list(items)),
                    left => Err(Open::List { left, items }),
                }
            }
            Open::Map {
                left,
                mut members,
                key,
            } => {
                members.set(key, item);
                match left - 1 {
                    0 => Ok(Item::map(members.list)),
                    left => Err(Open::Map {
                        left,
                        members,
                        key: self.key()?,
                    }),
                }
            }
        })
    }

    fn begin(&mut self) -> Read<Begun> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err("too many values");
        }
        let [byte] = self.array()?;
        let item = match byte {
            0x80..=0x8F => return Ok(Begun::Map(usize::from(byte & 0x0F))),
            0x90..=0x9F => return Ok(Begun::List(usize::from(byte & 0x0F))),
            0xDC | 0xDD => return self.length(byte - 0xDC + 1).map(Begun::List),
            0xDE | 0xDF => return self.length(byte - 0xDE + 1).map(Begun::Map),
            0xA0..=0xBF => self.text(usize::from(byte & 0x1F))?,
            0xD9..=0xDB => {
                let len = self.length(byte - 0xD9)?;
                self.text(len)?
            }
            0xC4..=0xC6 => {
                let len = self.length(byte - 0xC4)?;
                Item::Bytes(self.bytes(len)?.to_vec())
            }
            0xC7..=0xC9 => {
                let len = self.length(byte - 0xC7)?;
                self.ext(len)?
            }
            0xD4..=0xD8 => self.ext(1 << (byte - 0xD4))?,
            _ => Item::Plain(self.scalar(byte)?),
        };
        Ok(Begun::Item(item))
    }

    fn scalar(&mut self, byte: u8) -> Read<Value> {
        Ok(match byte {
            0x00..=0x7F => Value::Int(byte.into()),
            0xE0..=0xFF => Value::Int(byte.cast_signed().into()),
            0xC0 => Value::Null,
            0xC2 | 0xC3 => Value::Bool(byte == 0xC3),
            0xCA => Value::Float(f32::from_be_bytes(self.array()?).into()),
            0xCB => Value::Float(f64::from_be_bytes(self.array()?)),
            0xCC => Value::Int(u8::from_be_bytes(self.array()?).into()),
            0xCD => Value::Int(u16::from_be_bytes(self.array()?).into()),
            0xCE => Value::Int(u32::from_be_bytes(self.array()?).into()),
            0xCF => Value::Int(u64::from_be_bytes(self.array()?).into()),
            0xD0 => Value::Int(i8::from_be_bytes(self.array()?).into()),
            0xD1 => Value::Int(i16::from_be_bytes(self.array()?).into()),
            0xD2 => Value::Int(i32::from_be_bytes(self.array()?).into()),
            0xD3 => Value::Int(i64::from_be_bytes(self.array()?).into()),
            _ => return Err("a byte that begins nothing"),
        })
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

    /// Reads a length of 8, 16 or 32 bits.
    fn length(&mut self, width: u8) -> Read<usize> {
        Ok(match width {
            0 => u8::from_be_bytes(self.array()?).into(),
            1 => u16::from_be_bytes(self.array()?).into(),
            _ => usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| "too long")?,
        })
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

    fn key(&mut self) -> Read<Key> {
        let [byte] = self.array()?;
        Ok(match byte {
            0xA0..=0xBF => Key::Text(self.str(usize::from(byte & 0x1F))?),
            0xD9..=0xDB => {
                let len = self.length(byte - 0xD9)?;
                Key::Text(self.str(len)?)
            }
            0xC4..=0xC6 => {
                let len = self.length(byte - 0xC4)?;
                Key::Bytes(self.bytes(len)?.to_vec())
            }
            _ => return Err("a map key that is no text"),
        })
    }
}
