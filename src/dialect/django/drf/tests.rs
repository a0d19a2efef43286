use super::*;
use crate::dialect::django::{
    body::{self, Data},
    routes::ROWS,
};
use crate::python::json;
use crate::value::Value;

const MULTIPART: &str = "multipart/form-data; boundary=B";

fn from_json(body: &str) -> Data {
    body::parse(Some("application/json"), body.as_bytes()).unwrap()
}

fn from_form(body: &str) -> Data {
    body::parse(Some("application/x-www-form-urlencoded"), body.as_bytes()).unwrap()
}

fn written(value: &Value) -> String {
    let mut out = Vec::new();
    json::write_utf8(&mut out, value);
    String::from_utf8(out).unwrap()
}

fn refusal(data: &Data, language: Language) -> String {
    written(&validate_message(data, language).unwrap_err().to_value())
}

fn message_errors(body: &str) -> String {
    refusal(&from_json(body), Language::EnUs)
}

fn with_field(name: &str, value: &str) -> String {
    format!(r#"{{"sender_id":"a","content":"b","{name}":{value}}}"#)
}

#[test]
fn a_message_is_trimmed_and_has_defaults() {
    let message = validate_message(
        &from_json(r#"{"sender_id":" a\u3000","content":"\n b "}"#),
        Language::EnUs,
    );
    let expected = MessageFields {
        sender_id: "a".to_owned(),
        content: "b".to_owned(),
        message_type: "text".to_owned(),
        is_deleted: false,
    };
    assert_eq!(message, Ok(expected));
}

#[test]
fn numbers_are_taken_for_texts() {
    for (number, text) in [("0", "0"), ("1.0", "1.0"), ("1e22", "1e+22"), ("-5", "-5")] {
        let message = validate_message(&from_json(&with_field("content", number)), Language::EnUs);
        assert_eq!(message.unwrap().content, text);
    }
}

#[test]
fn missing_null_and_blank_texts_are_told_apart() {
    assert_eq!(
        message_errors("{}"),
        r#"{"sender_id":["This field is required."],"content":["This field is required."]}"#
    );
    assert_eq!(
        message_errors(r#"{"sender_id":null,"content":" \u3000"}"#),
        r#"{"sender_id":["This field may not be null."],"content":["This field may not be blank."]}"#
    );
}

#[test]
fn booleans_lists_and_objects_are_no_texts() {
    for value in ["true", "false", "[]", "{}", r#"["x"]"#] {
        assert_eq!(
            message_errors(&with_field("content", value)),
            r#"{"content":["Not a valid string."]}"#
        );
    }
}

#[test]
fn all_that_is_wrong_with_a_text_is_told() {
    let long = format!(r#""{}\u0000\ud800x\udfff""#, "x".repeat(256));
    assert_eq!(
        message_errors(&with_field("sender_id", &long)),
        r#"{"sender_id":["Ensure this field has no more than 255 characters.","Null characters are not allowed.","Surrogate characters are not allowed: U+D800."]}"#
    );
}

#[test]
fn a_sender_may_have_255_code_points_after_trimming() {
    let longest = "😀".repeat(255);
    let body = with_field("sender_id", &format!("\"  {longest}  \""));
    assert_eq!(
        validate_message(&from_json(&body), Language::EnUs)
            .unwrap()
            .sender_id,
        longest
    );
}

#[test]
fn only_three_message_types_are_choices_and_others_are_echoed_as_python_prints_them() {
    for (value, echo) in [
        (r#""video""#, "video"),
        (r#""""#, ""),
        (r#""TEXT""#, "TEXT"),
        ("5", "5"),
        ("true", "True"),
        (r#"["text"]"#, "['text']"),
        (r#"{"a":1}"#, "{'a': 1}"),
    ] {
        let expected = format!(r#"{{"message_type":["\"{echo}\" is not a valid choice."]}}"#);
        assert_eq!(message_errors(&with_field("message_type", value)), expected);
    }
    for value in ["text", "image", "file"] {
        let data = from_json(&with_field("message_type", &format!("\"{value}\"")));
        assert_eq!(
            validate_message(&data, Language::EnUs)
                .unwrap()
                .message_type,
            value
        );
    }
}

#[test]
fn a_message_type_that_cannot_be_echoed_is_refused_all_the_same() {
    assert_eq!(
        message_errors(&with_field("message_type", r#""x\ud800""#)),
        r#"{"message_type":["Surrogate characters are not allowed: U+D800."]}"#
    );
}

#[test]
fn many_things_are_booleans() {
    for (flag, values) in [
        (true, ["true", "1", "1.0", r#""YES""#, r#""on""#]),
        (false, ["false", "0", "-0.0", r#""Off""#, r#""f""#]),
    ] {
        for value in values {
            let data = from_json(&with_field("is_deleted", value));
            assert_eq!(
                validate_message(&data, Language::EnUs).unwrap().is_deleted,
                flag,
                "{value}"
            );
        }
    }
    for value in [
        "2",
        r#""""#,
        r#""null""#,
        "[]",
        "{}",
        "1e400",
        r#"" true""#,
        "0.5",
    ] {
        assert_eq!(
            message_errors(&with_field("is_deleted", value)),
            r#"{"is_deleted":["Must be a valid boolean."]}"#
        );
    }
    assert_eq!(
        message_errors(&with_field("is_deleted", "null")),
        r#"{"is_deleted":["This field may not be null."]}"#
    );
}

#[test]
fn blank_form_fields_mean_the_defaults() {
    let data = from_form("sender_id=x&sender_id=a&content=b&message_type=&is_deleted=");
    let message = validate_message(&data, Language::EnUs).unwrap();
    assert_eq!(
        (message.sender_id.as_str(), message.message_type.as_str()),
        ("a", "text")
    );
    assert!(!message.is_deleted);
}

#[test]
fn a_file_is_no_text_but_its_name_may_be_a_choice() {
    let file = |field: &str, name: &str| {
        format!(
            "--B\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\nx\r\n"
        )
    };
    let body = file("content", "a.txt")
        + &file("message_type", "image")
        + &file("is_deleted", "true")
        + "--B--\r\n";
    let data = body::parse(Some(MULTIPART), body.as_bytes()).unwrap();
    assert_eq!(
        refusal(&data, Language::EnUs),
        r#"{"sender_id":["This field is required."],"content":["Not a valid string."],"is_deleted":["Must be a valid boolean."]}"#
    );
}

#[test]
fn an_upload_that_crashes_django_is_refused() {
    let head = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n";
    let body = format!("{head}{}\r\n--B--\r\n", "x".repeat(2_700_000));
    let data = body::parse(Some(MULTIPART), body.as_bytes()).unwrap();
    assert_eq!(
        refusal(&data, Language::EnUs),
        r#"{"detail":"Uploads of more than 2621440 bytes are not accepted."}"#
    );
}

#[test]
fn a_body_that_is_no_object_is_refused_by_every_view() {
    let text = r#"{"detail":"Invalid data. Expected a dictionary, but got list."}"#;
    let data = from_json(r#"[{"user_id":"a"}]"#);
    assert_eq!(refusal(&data, Language::EnUs), text);
    let error = validate_participants(&data, Language::EnUs).unwrap_err();
    assert_eq!(written(&error.to_value()), text);
    let error = validate_reader(&data, Language::EnUs).unwrap_err();
    assert_eq!(written(&error.to_value()), text);
}

#[test]
fn every_false_value_is_a_missing_id() {
    for value in [r#""""#, "null", "0", "-0.0", "false", "[]", "{}"] {
        let body =
            format!(r#"{{"participant1_id":"a","participant2_id":{value},"user_id":{value}}}"#);
        let error = validate_participants(&from_json(&body), Language::Ko).unwrap_err();
        assert_eq!(
            written(&error.to_value()),
            r#"{"error":"participant1_id와 participant2_id가 필요합니다."}"#
        );
        let error = validate_reader(&from_json(&body), Language::Ko).unwrap_err();
        assert_eq!(
            written(&error.to_value()),
            r#"{"error":"user_id가 필요합니다."}"#
        );
    }
}

#[test]
fn ids_are_what_python_prints_and_are_not_trimmed() {
    let data = from_json(r#"{"participant1_id":"  ","participant2_id":["a",null,1.0]}"#);
    let ids = validate_participants(&data, Language::EnUs).unwrap();
    assert_eq!(ids, ("  ".to_owned(), "['a', None, 1.0]".to_owned()));
}

#[test]
fn an_id_too_long_for_its_column_is_refused_unless_spaces_make_it_so() {
    let longest = "가".repeat(255);
    let data = from_json(&format!(r#"{{"user_id":"{longest}    "}}"#));
    assert_eq!(
        validate_reader(&data, Language::EnUs).unwrap(),
        longest.clone() + "    "
    );
    for (end, more) in [
        ("x", ""),
        ("   \\u0000", ""),
        (
            "x\\ud800  ",
            r#","Surrogate characters are not allowed: U+D800.""#,
        ),
    ] {
        let data = from_json(&format!(r#"{{"user_id":"{longest}{end}"}}"#));
        let error = validate_reader(&data, Language::EnUs).unwrap_err();
        let too_long = r#"{"user_id":["Ensure this field has no more than 255 characters.""#;
        assert_eq!(written(&error.to_value()), format!("{too_long}{more}]}}"));
    }
}

#[test]
fn an_id_may_hold_nul_but_no_surrogate() {
    let data = from_json(r#"{"participant1_id":"\u0000","participant2_id":"\ud83d"}"#);
    let error = validate_participants(&data, Language::EnUs).unwrap_err();
    assert_eq!(
        written(&error.to_value()),
        r#"{"participant2_id":["Surrogate characters are not allowed: U+D83D."]}"#
    );
}

#[test]
fn the_answer_to_options_names_the_view() {
    assert_eq!(
        written(&options_metadata(ROWS[0].view)),
        r#"{"name":"Create Conversation","description":"새로운 대화방 생성 (중복 방지 로직 포함)","renders":["application/json","text/html"],"parses":["application/json","application/x-www-form-urlencoded","multipart/form-data"]}"#
    );
}

#[test]
fn details_have_the_status_and_the_text_of_their_language() {
    let sent = || "text/plain".to_owned();
    for (detail, status, english, korean) in [
        (Detail::NotFound, 404, "Not found.", "찾을 수 없습니다."),
        (
            Detail::NoMatch(Model::Conversation),
            404,
            "No Conversation matches the given query.",
            "No Conversation matches the given query.",
        ),
        (
            Detail::MethodNotAllowed("foo".to_owned()),
            405,
            "Method \"FOO\" not allowed.",
            "메소드(Method) \"FOO\"는 허용되지 않습니다.",
        ),
        (
            Detail::UnsupportedMediaType(sent()),
            415,
            "Unsupported media type \"text/plain\" in request.",
            "요청된 \"text/plain\"가 지원되지 않는 미디어 형태입니다.",
        ),
    ] {
        assert_eq!(detail.status(), status);
        assert_eq!(detail.text(Language::EnUs), english);
        assert_eq!(detail.text(Language::Ko), korean);
    }
}

#[test]
fn korean_field_errors_mix_with_untranslated_ones() {
    let data = from_json(r#"{"content":true,"message_type":"x","is_deleted":2}"#);
    assert_eq!(
        refusal(&data, Language::Ko),
        r#"{"sender_id":["이 필드는 필수 항목입니다."],"content":["Not a valid string."],"message_type":["\"x\"이 유효하지 않은 선택(choice)입니다."],"is_deleted":["Must be a valid boolean."]}"#
    );
}
