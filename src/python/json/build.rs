//! Objects and strings in the making.

use std::collections::HashMap;

use crate::value::{Text, Value};

/// Objects with more members than this find repeated keys by hash instead of by looking at each.
const SMALL_OBJECT: usize = 8;

/// The members of an object. Test: `a_repeated_key_keeps_its_first_place_and_takes_its_last_value`.
#[derive(Default)]
pub(super) struct ObjectMembers {
    list: Vec<(Text, Value)>,
    /// Index of keys, kept once there are more than [`SMALL_OBJECT`].
    index: HashMap<Text, usize>,
}

impl ObjectMembers {
    pub(super) fn set(&mut self, key: Text, value: Value) {
        match self.find(&key) {
            Some(place) => self.list[place].1 = value,
            None => self.add(key, value),
        }
    }

    pub(super) fn into_list(self) -> Vec<(Text, Value)> {
        self.list
    }

    fn find(&self, key: &Text) -> Option<usize> {
        if self.list.len() <= SMALL_OBJECT {
            return self.list.iter().position(|(k, _)| k == key);
        }
        self.index.get(key).copied()
    }

    fn add(&mut self, key: Text, value: Value) {
        self.list.push((key, value));
        let known = self.index.len();
        if self.list.len() > SMALL_OBJECT {
            let new = self.list.iter().enumerate().skip(known);
            self.index
                .extend(new.map(|(place, (key, _))| (key.clone(), place)));
        }
    }
}

/// A string in the making: UTF-8 for as long as that can hold it.
#[derive(Default)]
pub(super) struct TextBuilder {
    utf8: String,
    /// Everything, from the first surrogate on.
    points: Vec<u32>,
}

impl TextBuilder {
    pub(super) fn push_plain(&mut self, run: &str) {
        if self.points.is_empty() {
            self.utf8.push_str(run);
        } else {
            self.points.extend(run.chars().map(u32::from));
        }
    }

    pub(super) fn push(&mut self, point: u32) {
        match char::from_u32(point) {
            Some(c) if self.points.is_empty() => self.utf8.push(c),
            _ => {
                if self.points.is_empty() {
                    self.points.extend(self.utf8.chars().map(u32::from));
                }
                self.points.push(point);
            }
        }
    }

    pub(super) fn finish(mut self, last: &str) -> Text {
        self.push_plain(last);
        if self.points.is_empty() {
            return self.utf8.into();
        }
        Text::Surrogates(self.points.into())
    }
}
