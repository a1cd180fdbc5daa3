//! Reads JSON text into values, within a budget of memory.
//!
//! The text `{"":0},` has 7 bytes, and its value takes 660 bytes of memory. Without a budget a peer or a platform could
//! make a small body cost any amount. Counted are lists, maps, and what an allocator adds to a string; the rest of a string
//! is its text.

mod budget;
mod encoding;
mod split;

use std::fmt;
use std::marker::PhantomData;

use serde_core::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::peer::NUMBERS_ARE_TEXTS;
pub(crate) use budget::MemoryBudget;
pub(super) use budget::STRING_OVERHEAD;
use budget::string_overhead;
pub(crate) use encoding::{is_wide, to_utf8};
pub(crate) use split::ValuePosition;
pub(super) use split::each_field;

/// Key of the map as which a number arrives where [`NUMBERS_ARE_TEXTS`].
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// Reason for which a text cannot be read.
#[derive(Debug)]
pub(crate) enum JsonError {
    /// Its values would take more than this many bytes.
    TooLarge(usize),
    NotJson(serde_json::Error),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonError::TooLarge(limit) => {
                write!(f, "its lists, maps and texts would take more than {limit} bytes of memory")
            }
            JsonError::NotJson(why) => why.fmt(f),
        }
    }
}

/// Reads a text as one JSON value, and takes the value's memory from the budget.
///
/// It may have a byte order mark, or be UTF-16 or UTF-32: see [`to_utf8`].
///
/// # Errors
///
/// A text that is no JSON, nests deeper than 127 levels, or would take more than the budget. The budget is then unchanged.
pub(crate) fn parse_json(text: &[u8], budget: &mut MemoryBudget) -> Result<Value, JsonError> {
    let before = *budget;
    let text = to_utf8(text);
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let mut value = Value::Null;
    let seed = ValueSeed { value: &mut value, budget: &mut *budget };
    let read = seed.deserialize(&mut reader).and_then(|()| reader.end());
    read.map(|()| value).map_err(|why| {
        let exceeded = budget.exceeded;
        *budget = before;
        if exceeded { JsonError::TooLarge(before.limit()) } else { JsonError::NotJson(why) }
    })
}

/// Calls `visit` with the text of each entry of a list, until it returns false. Returns true where it accepted every entry.
///
/// # Errors
///
/// A text that is no JSON list.
pub(super) fn each_entry<'a>(text: &'a str, mut visit: impl FnMut(&'a str) -> bool) -> Result<bool, serde_json::Error> {
    let mut stopped = false;
    let mut reader = serde_json::Deserializer::from_str(text);
    let entries = EntryVisitor { visit: &mut visit, stopped: &mut stopped, text: PhantomData };
    let read = reader.deserialize_seq(entries).and_then(|()| reader.end());
    if stopped { Ok(false) } else { read.map(|()| true) }
}

/// A map under construction, whose memory is taken from a budget.
pub(super) struct MapBuilder<'a> {
    pub(super) fields: Map<String, Value>,
    pub(super) budget: &'a mut MemoryBudget,
}

impl MapBuilder<'_> {
    /// Adds a field. Returns false, and drops the field, where the budget does not suffice.
    pub(super) fn insert(&mut self, name: String, value: Value) -> bool {
        let fits = self.budget.spend_field::<serde_json::Error>(&name, self.fields.len()).is_ok();
        if fits {
            self.fields.insert(name, value);
        }
        fits
    }
}

/// Reads a [`Value`] as `serde_json` does, within a budget.
///
/// It writes the value to its place instead of returning it. Each level of JSON has a frame of some ten functions on the
/// stack, and a value in each would be most of it: it has 32 bytes, or 72 with the feature `preserve_order`.
///
/// No key has a special meaning. `serde_json` itself reads the string behind one of its private keys as JSON again, so that
/// a body could nest without end.
struct ValueSeed<'a> {
    value: &'a mut Value,
    budget: &'a mut MemoryBudget,
}

impl ValueSeed<'_> {
    fn put<E>(self, value: impl Into<Value>) -> Result<(), E> {
        *self.value = value.into();
        Ok(())
    }

    fn put_number<E: serde_core::de::Error>(self, number: impl Into<Value>) -> Result<(), E> {
        if NUMBERS_ARE_TEXTS {
            self.budget.spend(STRING_OVERHEAD)?;
        }
        self.put(number)
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(value)
    }

    fn visit_i64<E: serde_core::de::Error>(self, value: i64) -> Result<(), E> {
        self.put_number(value)
    }

    fn visit_u64<E: serde_core::de::Error>(self, value: u64) -> Result<(), E> {
        self.put_number(value)
    }

    fn visit_f64<E: serde_core::de::Error>(self, value: f64) -> Result<(), E> {
        self.put_number(value)
    }

    fn visit_str<E: serde_core::de::Error>(self, value: &str) -> Result<(), E> {
        self.budget.spend(string_overhead(value))?;
        self.put(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let ValueSeed { value, budget } = self;
        let (mut list, mut entry) = (Vec::new(), Value::Null);
        while entries.next_element_seed(ValueSeed { value: &mut entry, budget })?.is_some() {
            push(&mut list, &mut entry, budget)?;
        }
        *value = Value::Array(list);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let ValueSeed { value, budget } = self;
        // It is one now.
        let Some(fields) = start_map(value) else { return Ok(()) };
        while let Some(name) = entries.next_key::<String>()? {
            let is_number = NUMBERS_ARE_TEXTS && fields.is_empty() && name == NUMBER_KEY;
            let field = new_field(fields, name, budget, is_number)?;
            entries.next_value_seed(ValueSeed { value: field, budget })?;
            if is_number && field.is_string() {
                return number(value);
            }
            if is_number {
                budget.spend_field(NUMBER_KEY, 0)?;
            }
        }
        Ok(())
    }
}

// The next four are separate functions, so that what they need is not on the stack at each level.

/// Begins a map as the value.
#[inline(never)]
fn start_map(value: &mut Value) -> Option<&mut Map<String, Value>> {
    *value = Value::Object(Map::new());
    value.as_object_mut()
}

/// Moves an entry to a list.
#[inline(never)]
fn push<E: serde_core::de::Error>(
    list: &mut Vec<Value>,
    entry: &mut Value,
    budget: &mut MemoryBudget,
) -> Result<(), E> {
    if list.len() == list.capacity() {
        // Grows by half instead of doubling, since unused capacity is charged, too.
        let more = (list.len() / 2).max(2);
        budget.spend(more * size_of::<Value>())?;
        list.reserve_exact(more);
    }
    list.push(entry.take());
    Ok(())
}

/// Adds a field to a map, for its value to be written there. A field that may be a number costs nothing yet.
#[inline(never)]
fn new_field<'a, E: serde_core::de::Error>(
    fields: &'a mut Map<String, Value>,
    name: String,
    budget: &mut MemoryBudget,
    may_be_number: bool,
) -> Result<&'a mut Value, E> {
    if !may_be_number {
        budget.spend_field(&name, fields.len())?;
    }
    // A name that comes again has its earlier value until the new one is read.
    Ok(fields.entry(name).or_insert(Value::Null))
}

/// Replaces a map of one text by the number that it stands for.
///
/// As without the feature `arbitrary_precision`, a number that is too large for a float is refused.
#[inline(never)]
fn number<E: serde_core::de::Error>(value: &mut Value) -> Result<(), E> {
    let number: Number = value[NUMBER_KEY].as_str().unwrap_or_default().parse().map_err(E::custom)?;
    if number.as_f64().is_none() {
        return Err(E::custom("number out of range"));
    }
    *value = Value::Number(number);
    Ok(())
}

/// Visits the entries of a list; see [`each_entry`].
struct EntryVisitor<'f, 'a, F> {
    visit: &'f mut F,
    stopped: &'f mut bool,
    text: PhantomData<&'a str>,
}

impl<'a, F: FnMut(&'a str) -> bool> Visitor<'a> for EntryVisitor<'_, 'a, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element::<&RawValue>()? {
            if !(self.visit)(entry.get()) {
                *self.stopped = true;
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
