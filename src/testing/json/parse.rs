//! Reads JSON as Go's `encoding/json` reads it into a map.

use super::{Json, order_of_jsonb};

/// The deepest nesting that Go reads.
const DEEPEST: usize = 10_000;

/// Reads a text. `None` where it is not JSON, too deep, or has a number that `f64` cannot hold.
///
/// Bytes that are not UTF-8 and lone surrogates become U+FFFD. Of fields with one name the last one stays.
pub(in crate::testing) fn parse_json(text: &[u8]) -> Option<Json> {
    let mut parser = Parser { text, at: 0 };
    let (mut open, mut keys) = (Vec::<Json>::new(), Vec::<String>::new());
    loop {
        // A value begins here.
        let mut value = match parser.next_token()? {
            b'{' | b'[' if open.len() >= DEEPEST => return None,
            b'{' => {
                if parser.next_is(b'}') {
                    Json::Object(Vec::new())
                } else {
                    keys.push(parser.key()?);
                    open.push(Json::Object(Vec::new()));
                    continue;
                }
            }
            b'[' => {
                if parser.next_is(b']') {
                    Json::Array(Vec::new())
                } else {
                    open.push(Json::Array(Vec::new()));
                    continue;
                }
            }
            b'"' => Json::Text(parser.string()?),
            b't' => parser.word(b"rue", Json::Bool(true))?,
            b'f' => parser.word(b"alse", Json::Bool(false))?,
            b'n' => parser.word(b"ull", Json::Null)?,
            _ => parser.number()?,
        };
        // The value belongs into the innermost open container, which may end with it.
        loop {
            let Some(container) = open.last_mut() else { return parser.is_at_end().then_some(value) };
            let close = match container {
                Json::Array(items) => {
                    items.push(value);
                    b']'
                }
                Json::Object(fields) => {
                    fields.push((keys.pop()?, value));
                    b'}'
                }
                _ => return None,
            };
            match parser.next_token()? {
                b',' => {
                    if close == b'}' {
                        parser.expect(b'"')?;
                        keys.push(parser.key_after_quote()?);
                    }
                    break;
                }
                byte if byte == close => {
                    value = open.pop()?;
                    if let Json::Object(fields) = &mut value {
                        sort_fields(fields);
                    }
                }
                _ => return None,
            }
        }
    }
}

/// Sorts fields as `jsonb` does. Of those with one name the last one stays.
fn sort_fields(fields: &mut Vec<(String, Json)>) {
    fields.reverse();
    fields.sort_by(|a, b| order_of_jsonb(&a.0, &b.0));
    fields.dedup_by(|later, first| later.0 == first.0);
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Returns the next byte that is no space, and goes past it.
    fn next_token(&mut self) -> Option<u8> {
        self.skip_space();
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn next_is(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next_token()? == byte).then_some(())
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    fn word(&mut self, rest: &[u8], value: Json) -> Option<Json> {
        let matches = self.text.get(self.at..)?.starts_with(rest);
        self.at += rest.len();
        matches.then_some(value)
    }

    fn key(&mut self) -> Option<String> {
        self.expect(b'"')?;
        self.key_after_quote()
    }

    fn key_after_quote(&mut self) -> Option<String> {
        let key = self.string()?;
        self.expect(b':')?;
        Some(key)
    }

    /// Reads the number whose first byte was just passed.
    fn number(&mut self) -> Option<Json> {
        self.at -= 1;
        let rest = self.text.get(self.at..)?;
        let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        let text = std::str::from_utf8(rest.get(..length)?).ok()?;
        self.at += length;
        // The grammar of JSON, which is stricter than Rust's: no leading zero or plus, a digit on each side of the point.
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, rest) = digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
        let point_is_whole = rest.strip_prefix('.').is_none_or(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) || !point_is_whole {
            return None;
        }
        text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Json::Number)
    }

    /// Reads the string whose opening quote was just passed.
    fn string(&mut self) -> Option<String> {
        let mut out = String::new();
        loop {
            let rest = self.text.get(self.at..)?;
            let length = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))?;
            out.push_str(&String::from_utf8_lossy(rest.get(..length)?));
            self.at += length + 1;
            match rest.get(length)? {
                b'"' => return Some(out),
                b'\\' => out.push(self.escape()?),
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                if let Some(c) = char::from_u32(first) {
                    return Some(c);
                }
                let is_pair = (0xd800..0xdc00).contains(&first)
                    && self.text.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u"));
                let before = self.at;
                let second = if is_pair {
                    self.at += 2;
                    self.hex()?
                } else {
                    0
                };
                if (0xdc00..0xe000).contains(&second) {
                    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?
                } else {
                    // What follows a lone surrogate is read by itself.
                    self.at = before;
                    char::REPLACEMENT_CHARACTER
                }
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}
