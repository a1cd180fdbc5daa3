//! Tests of `a2a-peer schema`, and a check of the output against it by the keywords that it uses.

use serde_json::{Map, Value};

use crate::run;

/// Parses the documents that a subcommand has printed.
///
/// Asserts that each of them matches the schema's definition of the subcommand, or `error`.
pub fn documents(part: &str, out: &str) -> Vec<Value> {
    let schema = schema();
    let parts = out.lines().map(|line| {
        let document: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        let is_error = document["step"].is_null() && !document["error"].is_null();
        let part = match part {
            "demo" if !document["rows"].is_null() => "demo_summary",
            part if !is_error => part,
            _ => "error",
        };
        check(&schema, &schema["$defs"][part], &document, part);
        document
    });
    parts.collect()
}

pub fn schema() -> Value {
    let output = run(&["schema"]);
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""));
    serde_json::from_str(&output.out).unwrap()
}

/// Asserts that a value matches a definition. Stricter than JSON Schema: every field has to be described.
fn check(schema: &Value, rule: &Value, value: &Value, at: &str) {
    let why = mismatch(schema, rule, value);
    assert!(why.is_none(), "{at}: {} in {value}", why.unwrap_or_default());
}

/// Returns the first mismatch of a value with a definition.
fn mismatch(schema: &Value, rule: &Value, value: &Value) -> Option<String> {
    let rules = rule.as_object().unwrap_or_else(|| panic!("{rule} is not an object"));
    rules.iter().find_map(|(keyword, rule)| match keyword.as_str() {
        "description" | "additionalProperties" => None,
        "$ref" => {
            let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
            mismatch(schema, &schema["$defs"][name], value)
        }
        "anyOf" => {
            let all: Option<Vec<String>> =
                rule.as_array().unwrap().iter().map(|rule| mismatch(schema, rule, value)).collect();
            all.map(|all| all.join(", "))
        }
        "enum" => (!rule.as_array().unwrap().contains(value)).then(|| format!("{value} is not one of {rule}")),
        "type" => {
            let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
            (!types.iter().any(|name| is_of_type(name, value))).then(|| format!("{value} is not of type {rule}"))
        }
        "required" => {
            let missing = rule.as_array().unwrap().iter().find(|name| value.get(name.as_str().unwrap()).is_none());
            missing.map(|name| format!("{name} is missing"))
        }
        "properties" => fields(schema, rules, rule, value),
        other => panic!("{other}: unknown to this test"),
    })
}

fn fields(schema: &Value, rules: &Map<String, Value>, described: &Value, value: &Value) -> Option<String> {
    assert!(rules.get("additionalProperties").is_none(), "a definition has either described fields or any");
    value.as_object()?.iter().find_map(|(name, value)| match described.get(name) {
        Some(rule) => mismatch(schema, rule, value).map(|why| format!("{name}: {why}")),
        None => Some(format!("{name} is not described")),
    })
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}: unknown to this test"),
    }
}

#[test]
fn every_definition_is_offered_and_every_reference_resolves() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(text)) => found.push(text.clone()),
                _ => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let (schema, mut found) = (schema(), Vec::new());
    references(&schema, &mut found);
    for reference in found {
        let name = reference.strip_prefix("#/$defs/").unwrap();
        assert!(schema["$defs"][name].is_object(), "{reference}");
    }
    assert_eq!(schema["anyOf"].as_array().unwrap().len(), 16);
}

#[test]
fn check_finds_missing_wrong_and_unknown_fields() {
    let schema = schema();
    let rule = &schema["$defs"]["discover"];
    let valid = serde_json::json!({ "peer": "p", "record": {}, "ms": 1.5 });
    assert_eq!(mismatch(&schema, rule, &valid), None);
    for (field, value) in [("peer", Value::Null), ("record", 1.into()), ("ms", "1".into()), ("new", 1.into())] {
        let mut invalid = valid.clone();
        invalid[field] = value;
        assert!(mismatch(&schema, rule, &invalid).is_some(), "{invalid}");
    }
    assert!(mismatch(&schema, rule, &serde_json::json!({ "peer": "p", "ms": 1 })).is_some());
}
