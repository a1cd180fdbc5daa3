use serde_json::json;

use super::*;
use crate::peer::map_memory;

fn read(text: &str, limit: usize) -> Result<Value, JsonError> {
    parse_json(text.as_bytes(), &mut MemoryBudget::exactly(limit))
}

#[test]
fn values_are_those_that_serde_json_reads() {
    for text in [
        "null",
        "true",
        "-1",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "1.5e3",
        r#""\ud83d\ude00 \n""#,
        "[]",
        "{}",
        r#"[1,[2,[3]],{"a":[{}],"b":null}]"#,
        r#"{"a":1,"a":2,"":{"":""}}"#,
        " [ 1 , 2 ] ",
        r#"{"$serde_json::private::Number":"1"}"#,
        "",
        "[1,]",
        "[1]]",
        "{\"a\"}",
        "NaN",
        "-Infinity",
        "01",
        r#""\ud800""#,
    ] {
        let (ours, theirs) = (read(text, usize::MAX), serde_json::from_str::<Value>(text));
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{text}"),
            (Err(JsonError::NotJson(ours)), Err(theirs)) => assert_eq!(ours.to_string(), theirs.to_string(), "{text}"),
            (ours, theirs) => panic!("{text}: {ours:?}, {theirs:?}"),
        }
    }
    // As serde_json does without the feature `arbitrary_precision`.
    for text in ["1e999", "-1e999", "[1e400]"] {
        assert!(
            matches!(read(text, usize::MAX), Err(JsonError::NotJson(why)) if why.to_string().contains("out of range"))
        );
    }
    for levels in [127, 128] {
        let text = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(read(&text, usize::MAX).is_ok(), serde_json::from_str::<Value>(&text).is_ok(), "{levels}");
    }
}

/// serde_json's own reader reads the string behind this key as JSON, with another 127 levels, and so on.
#[test]
fn string_behind_a_private_key_stays_a_string() {
    let text = r#"{"$serde_json::private::RawValue":"[1]"}"#;
    assert_eq!(read(text, usize::MAX).unwrap()["$serde_json::private::RawValue"], "[1]");
}

#[test]
fn value_above_the_budget_is_refused_and_takes_nothing() {
    // With the feature `arbitrary_precision` a number is a text.
    let number = if NUMBERS_ARE_TEXTS { STRING_OVERHEAD } else { 0 };
    let map = map_memory(1);
    for (text, takes) in [
        ("7", number),
        (r#""a long text, of any length""#, STRING_OVERHEAD),
        ("\"\"", 0),
        (r#"["a","b"]"#, 2 * size_of::<Value>() + 2 * STRING_OVERHEAD),
        ("[]", 0),
        ("{}", 0),
        ("[0]", 2 * size_of::<Value>() + number),
        ("[0,0,0]", 4 * size_of::<Value>() + 3 * number),
        (r#"{"a":0}"#, map + STRING_OVERHEAD + number),
        (r#"{"a":"b"}"#, map + 2 * STRING_OVERHEAD),
        (r#"[{"a":0},{"":{}}]"#, 2 * size_of::<Value>() + 2 * map + STRING_OVERHEAD + number),
        (
            r#"{"0":0,"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"a":0,"b":0,"c":0}"#,
            map_memory(13) + 13 * (STRING_OVERHEAD + number),
        ),
    ] {
        let mut budget = MemoryBudget::exactly(takes);
        assert!(parse_json(text.as_bytes(), &mut budget).is_ok(), "{text}");
        assert_eq!(budget.used(), takes, "{text}");
        let mut before = MemoryBudget::exactly(takes);
        assert!(takes == 0 || before.take(1));
        let mut budget = before;
        if takes > 0 {
            let why = parse_json(text.as_bytes(), &mut budget).unwrap_err();
            assert!(matches!(why, JsonError::TooLarge(limit) if limit == takes), "{text}: {why}");
        }
        assert_eq!(budget, before, "{text}");
    }
    assert_eq!(MemoryBudget::new(64, 7).limit(), 10 * size_of::<Value>().max(32) + 7);
}

#[test]
fn entries_and_fields_are_visited_as_texts() {
    let mut seen = Vec::new();
    assert!(
        each_entry(r#" [1, {"a": [2]} ,"x"]"#, |text| {
            seen.push(text);
            true
        })
        .unwrap()
    );
    assert_eq!(seen, ["1", r#"{"a": [2]}"#, r#""x""#]);
    assert!(!each_entry("[1,2,3]", |text| text == "1").unwrap());
    for text in ["[1,2", "{}", "[1]x", ""] {
        assert!(each_entry(text, |_| true).is_err(), "{text}");
    }
    let deep = format!("{{\"a\":{}{},\"b\":1e999}}", "[".repeat(100_000), "]".repeat(100_000));
    let mut lengths = Vec::new();
    assert!(each_field(&deep, |name, text| {
        lengths.push((name, text.len()));
        true
    }));
    assert_eq!(lengths, [("a".to_owned(), 200_000), ("b".to_owned(), 5)]);
    for (text, whole) in [("{}", true), (r#"{"a":1}"#, false), ("[]", false), (r#"{"\ud800":1}"#, false)] {
        assert_eq!(each_field(text, |_, _| false), whole, "{text}");
    }
    let mut budget = MemoryBudget::new(0, map_memory(11) + 11 * STRING_OVERHEAD);
    let mut builder = MapBuilder { fields: Map::new(), budget: &mut budget };
    let fits = (0..13).take_while(|n| builder.insert(n.to_string(), json!(n))).count();
    assert_eq!((fits, builder.fields.len()), (11, 11));
}

/// The first split of a B-tree makes two leaves of one, and a node above them. An ordered map is a list and a table.
#[test]
fn map_is_charged_for_its_nodes() {
    let field = size_of::<String>() + size_of::<Value>();
    let (leaf, inner) = (11 * field + 16, 11 * field + 16 + 12 * size_of::<usize>());
    let tree = [(1, leaf), (11, leaf), (12, 2 * leaf + inner), (18, 2 * leaf + inner), (19, 3 * leaf + inner)];
    let list =
        |fields: usize, buckets: usize| fields * (field + size_of::<usize>()) + buckets * (size_of::<usize>() + 1);
    let ordered = [(1, list(3, 4)), (3, list(3, 4)), (4, list(7, 8)), (8, list(14, 16)), (15, list(28, 32))];
    let is_ordered = size_of::<Map<String, Value>>() > 32;
    for (fields, takes) in if is_ordered { ordered } else { tree } {
        let text = json!((0..fields).map(|n| (format!("{n:02}"), json!(null))).collect::<Map<_, _>>()).to_string();
        let mut budget = MemoryBudget::new(0, 100_000);
        assert!(parse_json(text.as_bytes(), &mut budget).is_ok());
        let nodes = budget.used() - fields * STRING_OVERHEAD;
        let more = if is_ordered { 20 } else { 8 * (leaf / 5 + 8) };
        assert!((takes..takes + more).contains(&nodes), "{fields}: {nodes}");
    }
}
