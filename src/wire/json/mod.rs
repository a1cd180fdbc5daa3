//! JSON text into values, with a bound on the memory that they take. `{"":0},` is 7 bytes of text and 660 of memory:
//! what a peer or a platform sends may not cost what it likes. What is counted is lists and maps, and of strings what an
//! allocator rounds them up by: the rest of a string is its text.

use std::fmt;
use std::marker::PhantomData;

use serde_core::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::peer::map_growth;

/// How many times its own size a text's lists and maps may take, beside an absolute budget. With what the text itself
/// takes while it arrives, and the strings, that is eight times.
const TIMES: usize = 5;
/// What a string takes beside its text: the head of an allocator's block, and the rest of a short one. `"a",` is 4 bytes of
/// text, and glibc's smallest block has 32.
pub(super) const STRING: usize = 24;
/// Whether another crate of the program has switched on `arbitrary_precision`, by which numbers come as maps.
const NUMBERS_ARE_MAPS: bool = size_of::<Number>() > 16;
const NUMBER: &str = "$serde_json::private::Number";

/// How much memory values may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MemoryBudget {
    most: usize,
    left: usize,
    exceeded: bool,
}

impl MemoryBudget {
    /// For a text of so many bytes, and so much besides.
    pub(crate) fn new(text: usize, besides: usize) -> Self {
        let most = text.saturating_mul(TIMES).saturating_add(besides);
        MemoryBudget { most, left: most, exceeded: false }
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    pub(crate) fn used(&self) -> usize {
        self.most - self.left
    }

    /// Whether there was still so much.
    #[must_use]
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.exceeded |= left.is_none();
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    fn spend<E: serde_core::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        if self.take(bytes) { Ok(()) } else { Err(E::custom("too much memory")) }
    }

    /// What one more field of that name takes in a map that has so many.
    fn spend_field<E: serde_core::de::Error>(&mut self, name: &str, fields: usize) -> Result<(), E> {
        self.spend(map_growth(fields) + beside(name))
    }

    /// A part of what is left, for a use of its own.
    pub(super) fn set_aside(&mut self, bytes: usize) -> MemoryBudget {
        let part = bytes.min(self.left);
        self.left -= part;
        MemoryBudget { most: part, left: part, exceeded: false }
    }

    /// What is left of such a part.
    pub(super) fn put_back(&mut self, part: MemoryBudget) {
        self.left += part.left;
    }
}

/// What a string takes beside its text. An empty one has no block.
fn beside(text: &str) -> usize {
    if text.is_empty() { 0 } else { STRING }
}

/// Why a text is not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Its values would take more than so many bytes.
    TooLarge(usize),
    NotJson(serde_json::Error),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::TooLarge(most) => {
                write!(f, "its lists, maps and texts would take more than {most} bytes of memory")
            }
            Unread::NotJson(why) => why.fmt(f),
        }
    }
}

/// The value that a text is. What was taken of the budget is given back where it cannot be read.
///
/// # Errors
///
/// What is not JSON, nests deeper than 127 levels, or would take more than the budget.
pub(crate) fn value(text: &[u8], budget: &mut MemoryBudget) -> Result<Value, Unread> {
    let before = *budget;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Seed(&mut *budget).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|why| unread(why, budget, before))
}

/// Hands each field of an object to `field`: the name, and the value's text. Whether it is an object of which all
/// was taken.
pub(super) fn each_field<'a>(text: &'a str, mut field: impl FnMut(String, &'a str) -> bool) -> bool {
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.deserialize_map(Fields(&mut field, PhantomData)).and_then(|()| reader.end()).is_ok()
}

/// Hands the text of each entry of a list to `entry`, for as long as that says yes. Whether it did to the end.
///
/// # Errors
///
/// What is no list.
pub(super) fn each_entry<'a>(text: &'a str, mut entry: impl FnMut(&'a str) -> bool) -> Result<bool, serde_json::Error> {
    let mut stopped = false;
    let mut reader = serde_json::Deserializer::from_str(text);
    let entries = Entries { entry: &mut entry, stopped: &mut stopped, text: PhantomData };
    let read = reader.deserialize_seq(entries).and_then(|()| reader.end());
    if stopped { Ok(false) } else { read.map(|()| true) }
}

/// A map as it is read. Charges it to the budget.
pub(super) struct Filling<'a> {
    pub(super) fields: Map<String, Value>,
    pub(super) budget: &'a mut MemoryBudget,
}

impl Filling<'_> {
    /// Whether there was room for it.
    pub(super) fn put(&mut self, name: String, value: Value) -> bool {
        let room = self.budget.spend_field::<serde_json::Error>(&name, self.fields.len()).is_ok();
        if room {
            self.fields.insert(name, value);
        }
        room
    }
}

fn unread(why: serde_json::Error, budget: &mut MemoryBudget, before: MemoryBudget) -> Unread {
    let exceeded = budget.exceeded;
    *budget = before;
    if exceeded { Unread::TooLarge(before.most) } else { Unread::NotJson(why) }
}

/// As `serde_json` reads a [`Value`], but for the budget; and no key means anything to it: by one that the library
/// itself uses, a string would be read as JSON again, and nest without end.
struct Seed<'a>(&'a mut MemoryBudget);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: serde_core::de::Error>(self, value: &str) -> Result<Value, E> {
        self.0.spend(beside(value))?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element_seed(Seed(&mut *self.0))? {
            if list.len() == list.capacity() {
                // By halves, and not by twos: what is not used is charged, too.
                let more = (list.len() / 2).max(2);
                self.0.spend(more * size_of::<Value>())?;
                list.reserve_exact(more);
            }
            list.push(entry);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Seed(&mut *self.0))?;
            let is_number = NUMBERS_ARE_MAPS && fields.is_empty() && name == NUMBER;
            if let (true, Value::String(digits)) = (is_number, &value) {
                return digits.parse().map(Value::Number).map_err(A::Error::custom);
            }
            self.0.spend_field(&name, fields.len())?;
            fields.insert(name, value);
        }
        Ok(fields.into())
    }
}

struct Fields<'f, 'a, F>(&'f mut F, PhantomData<&'a str>);

impl<'a, F: FnMut(String, &'a str) -> bool> Visitor<'a> for Fields<'_, 'a, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some((name, value)) = entries.next_entry::<String, &RawValue>()? {
            if !self.0(name, value.get()) {
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

struct Entries<'f, 'a, F> {
    entry: &'f mut F,
    stopped: &'f mut bool,
    text: PhantomData<&'a str>,
}

impl<'a, F: FnMut(&'a str) -> bool> Visitor<'a> for Entries<'_, 'a, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element::<&RawValue>()? {
            if !(self.entry)(entry.get()) {
                *self.stopped = true;
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
