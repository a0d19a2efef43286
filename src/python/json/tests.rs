//! The answers of Python 3.11.7 to the same texts and values.

use super::{
    Constants, JsonError, MAX_DEPTH, MAX_VALUES, Part, PartWriter, loads, write_ascii,
    write_pretty, write_utf8, write_utf8_str,
};
use crate::value::{Text, Value};

fn read(text: &str) -> Value {
    loads(text, Constants::Allow).expect(text)
}

fn error(text: &str) -> String {
    loads(text, Constants::Refuse).expect_err(text).to_string()
}

fn written(write: impl Fn(&mut Vec<u8>, &Value), value: &Value) -> String {
    let mut out = Vec::new();
    write(&mut out, value);
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn ascii(text: &str) -> String {
    written(write_ascii, &read(text))
}

fn utf8(text: &str) -> String {
    written(write_utf8, &read(text))
}

#[test]
fn errors_are_pythons_to_the_letter() {
    let property = "Expecting property name enclosed in double quotes";
    let cases = [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("  ", "Expecting value: line 1 column 3 (char 2)"),
        ("abc", "Expecting value: line 1 column 1 (char 0)"),
        ("True", "Expecting value: line 1 column 1 (char 0)"),
        ("-", "Expecting value: line 1 column 1 (char 0)"),
        ("[1,]", "Expecting value: line 1 column 4 (char 3)"),
        (r#"{"a":}"#, "Expecting value: line 1 column 6 (char 5)"),
        (r#"{"a":+1}"#, "Expecting value: line 1 column 6 (char 5)"),
        (r#"{"a":.5}"#, "Expecting value: line 1 column 6 (char 5)"),
        ("{", &format!("{property}: line 1 column 2 (char 1)")),
        ("{,}", &format!("{property}: line 1 column 2 (char 1)")),
        ("{'a':1}", &format!("{property}: line 1 column 2 (char 1)")),
        (
            r#"{"a":1,}"#,
            &format!("{property}: line 1 column 8 (char 7)"),
        ),
        (
            r#"{"a" 1}"#,
            "Expecting ':' delimiter: line 1 column 6 (char 5)",
        ),
        (
            r#"{"a":01}"#,
            "Expecting ',' delimiter: line 1 column 7 (char 6)",
        ),
        ("[1 2]", "Expecting ',' delimiter: line 1 column 4 (char 3)"),
        ("{}}", "Extra data: line 1 column 3 (char 2)"),
        ("1.", "Extra data: line 1 column 2 (char 1)"),
        ("1e+", "Extra data: line 1 column 2 (char 1)"),
        (
            "\"",
            "Unterminated string starting at: line 1 column 1 (char 0)",
        ),
        (
            r#"{"a":"x"#,
            "Unterminated string starting at: line 1 column 6 (char 5)",
        ),
        (
            r#""\"#,
            "Unterminated string starting at: line 1 column 1 (char 0)",
        ),
        (
            "{\"a\":\"x\ny\"}",
            "Invalid control character at: line 1 column 8 (char 7)",
        ),
        (
            r#"{"a":"\x"}"#,
            r"Invalid \escape: line 1 column 7 (char 6)",
        ),
        (
            r#"{"a":"\u12g4"}"#,
            r"Invalid \uXXXX escape: line 1 column 8 (char 7)",
        ),
        (
            "\u{feff}{}",
            "Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected, "{text:?}");
    }
}

#[test]
fn positions_count_code_points_and_lines() {
    assert_eq!(
        error("{\"가나다\": x}"),
        "Expecting value: line 1 column 9 (char 8)"
    );
    assert_eq!(
        error("{\n \"a\": 1,\n \"b\": x\n}"),
        "Expecting value: line 3 column 7 (char 17)"
    );
}

#[test]
fn a_unicode_escape_at_the_very_end_is_invalid_rather_than_unterminated() {
    let expected = r"Invalid \uXXXX escape: line 1 column 3 (char 2)";
    assert_eq!(error(r#""\u0041"#), expected);
    assert_eq!(
        error(r#""\ud83d\ude00"#),
        r"Invalid \uXXXX escape: line 1 column 9 (char 8)"
    );
}

#[test]
fn constants_are_refused_on_rest_and_read_on_sockets() {
    for constant in ["NaN", "Infinity", "-Infinity"] {
        let expected = format!("Out of range float values are not JSON compliant: '{constant}'");
        assert_eq!(error(&format!("[{constant}, x")), expected);
        assert_eq!(ascii(constant), constant);
    }
}

#[test]
fn a_number_too_big_for_a_float_is_infinite_even_on_rest() {
    assert_eq!(
        loads("-1e400", Constants::Refuse),
        Ok(Value::Float(f64::NEG_INFINITY))
    );
}

#[test]
fn integers_of_4300_digits_are_kept_and_longer_ones_refused() {
    let longest = format!("-{}", "9".repeat(4300));
    assert_eq!(ascii(&longest), longest);
    assert_eq!(
        error(&"9".repeat(5000)),
        "Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits; \
         use sys.set_int_max_str_digits() to increase the limit"
    );
}

#[test]
fn minus_zero_is_an_integer_without_a_sign_and_a_float_with_one() {
    assert_eq!(ascii("[-0, -0.0, 1E5]"), "[0, -0.0, 100000.0]");
}

#[test]
fn more_values_than_anybody_sends_are_refused() {
    let list = |count: usize| format!("[{}0]", "0,".repeat(count - 2));
    assert!(loads(&list(MAX_VALUES), Constants::Refuse).is_ok());
    let more = loads(&list(MAX_VALUES + 1), Constants::Refuse);
    assert_eq!(more, Err(JsonError::TooMany));
    let objects = format!("[{}", r#"{"a":[0]},"#.repeat(MAX_VALUES / 3));
    assert_eq!(loads(&objects, Constants::Refuse), Err(JsonError::TooMany));
}

#[test]
fn nesting_past_the_bound_is_refused() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(loads(&nested(MAX_DEPTH), Constants::Refuse).is_ok());
    let deeper = loads(&nested(MAX_DEPTH + 1), Constants::Refuse);
    assert_eq!(deeper, Err(JsonError::TooDeep));
    let endless = loads(&r#"{"a":"#.repeat(1_000_000), Constants::Refuse);
    assert_eq!(endless, Err(JsonError::TooDeep));
}

#[test]
fn a_repeated_key_keeps_its_first_place_and_takes_its_last_value() {
    assert_eq!(utf8(r#"{"b":1,"a":2,"b":3}"#), r#"{"b":3,"a":2}"#);
}

#[test]
fn a_repeated_key_is_found_in_a_large_object_too() {
    let members: Vec<_> = (0..100).map(|i| format!("\"k{}\":{i}", i % 20)).collect();
    let expected: Vec<_> = (0..20).map(|i| format!("\"k{i}\":{}", i + 80)).collect();
    assert_eq!(
        utf8(&format!("{{{}}}", members.join(","))),
        format!("{{{}}}", expected.join(","))
    );
}

#[test]
fn surrogate_pairs_join_and_lone_ones_stay() {
    assert_eq!(read(r#""\ud83d\ude00""#), Value::from("😀"));
    let lone = |points: &[u32]| Value::Str(Text::Surrogates(points.into()));
    assert_eq!(read(r#""a\ud800가""#), lone(&[0x61, 0xd800, 0xac00]));
    assert_eq!(read(r#""\ud83d\ud83d\ude00""#), lone(&[0xd83d, 0x1_f600]));
    assert_eq!(read(r#""\ude00\ud83d""#), lone(&[0xde00, 0xd83d]));
}

#[test]
fn sockets_write_ascii_with_spaces() {
    assert_eq!(
        ascii(r#"{"a":[1,true,null,1e22],"한":"홍 \u007f\u0001\n\"\\/ 😀\ud800b"}"#),
        r#"{"a": [1, true, null, 1e+22], "\ud55c": "\ud64d \u007f\u0001\n\"\\/ \ud83d\ude00\ud800b"}"#
    );
}

#[test]
fn rest_writes_utf8_without_spaces() {
    assert_eq!(
        utf8(r#"{"a": [1, {}], "한": "홍€ \u007f\u001F\b\f\r\t \u2028\u2029 \u20ac/"}"#),
        "{\"a\":[1,{}],\"한\":\"홍€ \u{7f}\\u001f\\b\\f\\r\\t \\u2028\\u2029 €/\"}"
    );
}

#[test]
fn rest_never_writes_what_is_not_json() {
    assert_eq!(utf8("[NaN, -Infinity]"), "[null,null]");
    assert_eq!(utf8(r#""a\udc00한""#), r#""a\udc00한""#);
}

#[test]
fn special_characters_are_found_anywhere_in_a_long_text() {
    for before in 0..40 {
        let plain = "x".repeat(before);
        let mut out = Vec::new();
        write_utf8_str(&mut out, &format!("{plain}\"é\n{plain}"));
        let expected = format!("\"{plain}\\\"é\\n{plain}\"");
        assert_eq!(String::from_utf8(out), Ok(expected));
    }
}

#[test]
fn pretty_puts_each_member_on_a_line_and_leaves_empty_ones_together() {
    let pretty = |value: &Value| written(|out, value| write_pretty(out, value, 2), value);
    assert_eq!(
        pretty(&read(r#"{"a":[1,{}],"b":[]}"#)),
        "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}"
    );
}

/// The parts of a value: of its lists and maps down to this depth, and the values in them whole.
fn parts(value: &Value, depth: usize, out: &mut Vec<Part>) {
    match value {
        Value::List(items) if depth > 0 => {
            out.push(Part::List);
            for item in items {
                parts(item, depth - 1, out);
            }
            out.push(Part::End);
        }
        Value::Map(members) if depth > 0 => {
            out.push(Part::Map);
            for (key, value) in members {
                let key = String::leak(key.as_str().unwrap().to_owned());
                out.push(Part::Key(key));
                parts(value, depth - 1, out);
            }
            out.push(Part::End);
        }
        whole => out.push(Part::Value(whole.clone())),
    }
}

#[test]
fn a_value_written_in_parts_is_the_same_as_one_written_whole() {
    for text in [
        "1",
        "[]",
        "{}",
        "[[]]",
        r#"{"a": {}, "b": [], "c": [{}, []]}"#,
        r#"[{"n": 1}, {"n": 2}, "x"]"#,
        r#"{"id": 1, "messages": [{"n": 1}, {"n": 2}], "last_message": null}"#,
        r#"[{"messages": [{"n": [1]}], "last": {"n": 1}}, {"messages": [], "last": null}]"#,
    ] {
        let whole = loads(text, Constants::Refuse).unwrap();
        let (mut ascii, mut utf8, mut pretty) = (Vec::new(), Vec::new(), Vec::new());
        write_ascii(&mut ascii, &whole);
        write_utf8(&mut utf8, &whole);
        write_pretty(&mut pretty, &whole, 3);
        for depth in 0..5 {
            let mut list = Vec::new();
            parts(&whole, depth, &mut list);
            let written = |mut writer: PartWriter| {
                let mut out = Vec::new();
                for part in &list {
                    writer.write(&mut out, part);
                }
                out
            };
            assert_eq!(written(PartWriter::ascii()), ascii, "{text} {depth}");
            assert_eq!(written(PartWriter::utf8()), utf8, "{text} {depth}");
            assert_eq!(written(PartWriter::pretty(3)), pretty, "{text} {depth}");
        }
    }
}
