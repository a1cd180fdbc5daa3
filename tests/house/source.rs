//! Rust source reduced to what the checks look at: no comments, no contents of literals, no test code.

/// Replaces comments and the contents of string and character literals by blanks. Line breaks stay.
pub(crate) fn strip_comments(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let blank = |out: &mut String, range: std::ops::Range<usize>| {
        out.extend(range.map(|i| if at(i) == '\n' { '\n' } else { ' ' }));
    };
    while i < chars.len() {
        let is_word_before = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        let end = match at(i) {
            '/' if at(i + 1) == '/' => (i..chars.len()).find(|j| at(*j) == '\n').unwrap_or(chars.len()),
            '/' if at(i + 1) == '*' => end_of_block_comment(&chars, i),
            'r' if !is_word_before && matches!(at(i + 1), '"' | '#') => match end_of_raw_string(&chars, i + 1) {
                Some(end) => end,
                None => {
                    out.push('r');
                    i += 1;
                    continue;
                }
            },
            '"' => end_of_string(&chars, i),
            // A character, not a lifetime.
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                let first = if at(i + 1) == '\\' { i + 3 } else { i + 2 };
                (first..chars.len()).find(|j| at(*j) == '\'').map_or(chars.len(), |j| j + 1)
            }
            other => {
                out.push(other);
                i += 1;
                continue;
            }
        };
        if matches!(at(i), '"' | 'r') {
            out.push_str("\"\"");
        }
        blank(&mut out, i..end);
        i = end;
    }
    out
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut i = start;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// `start` is behind the `r`. Returns `None` for a raw identifier such as `r#type`.
fn end_of_raw_string(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start..].iter().take_while(|c| **c == '#').count();
    if chars.get(start + hashes) != Some(&'"') {
        return None;
    }
    let mut i = start + hashes + 1;
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(chars.len())
}

/// Removes the items that only tests, fuzz targets and loom models compile. `code` has no comments and literals.
pub(crate) fn strip_test_code(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(") {
        let attribute = &rest[start..start + matching(&rest[start + 1..]) + 1];
        let item = &rest[start + attribute.len()..];
        let (kept, length) =
            if is_test_only(attribute) { (start, end_of_item(item)) } else { (start + attribute.len(), 0) };
        out.push_str(&rest[..kept]);
        rest = &item[length..];
    }
    out + rest
}

/// A `cfg` that names tests, other than to exclude them.
fn is_test_only(attribute: &str) -> bool {
    let mut text = attribute.to_owned();
    for excluded in ["test", "fuzzing", "a2a_loom"] {
        text = text.replace(&format!("not({excluded})"), "");
    }
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| matches!(word, "test" | "fuzzing" | "a2a_loom" | "doctest"))
}

/// Length of the bracketed text at the start, both brackets included.
fn matching(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// Length of the item at the start: its further attributes, and its text up to the `;`, the `,` or the end of its block.
fn end_of_item(text: &str) -> usize {
    let mut at = text.len() - text.trim_start().len();
    while text[at..].starts_with("#[") {
        at += 1 + matching(&text[at + 1..]);
        at += text[at..].len() - text[at..].trim_start().len();
    }
    let words = text[at..].split_whitespace();
    let is_use = words.take(3).any(|word| word == "use");
    while at < text.len() {
        match text.as_bytes()[at] {
            b';' | b',' => return at + 1,
            b'}' | b')' | b']' => return at,
            b'{' if !is_use => return at + matching(&text[at..]),
            b'(' | b'[' | b'{' => at += matching(&text[at..]),
            _ => at += 1,
        }
        while !text.is_char_boundary(at) {
            at += 1;
        }
    }
    text.len()
}

#[test]
fn comments_and_literals_are_removed() {
    let code = strip_comments("a /* b /* c */ */ d // e\nf(\"g\\\" use x;\", r#\"h \" i\"#, 'j', '\\'', r#type) // k");
    for gone in ["b", "c", "e", "g", "use", "h", "i", "j", "k"] {
        assert!(!code.split(|c: char| !c.is_alphanumeric()).any(|word| word == gone), "{gone}: {code}");
    }
    assert_eq!(strip_comments("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    assert!(code.contains("type") && code.contains('d') && code.lines().count() == 2, "{code}");
}

#[test]
fn test_code_is_removed_and_other_code_stays() {
    let code = "a; #[cfg(test)] mod tests { use b; fn c() {} } #[cfg(any(test, fuzzing))] pub(crate) mod d; \
                #[cfg(not(a2a_loom))] use e::{f, g}; #[cfg(test)] use h::{i, j}; k; #[cfg(unix)] fn l() {} \
                #[cfg(test)] #[allow(x)] fn m() -> [u8; 3] { n } o; struct P { #[cfg(test)] q: u8, r: u8 }";
    let kept = strip_test_code(code);
    let words: Vec<&str> = kept.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() == 1).collect();
    assert_eq!(words.concat(), "aefgkloPr", "{kept}");
}
