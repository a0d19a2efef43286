use super::*;

const TYPE: &str = "multipart/form-data; boundary=XBOUND";

fn part(head: &str, content: &str) -> String {
    format!("--XBOUND\r\n{head}\r\n\r\n{content}\r\n")
}

fn field(name: &str, content: &str) -> String {
    part(
        &format!("Content-Disposition: form-data; name=\"{name}\""),
        content,
    )
}

fn parse_all(parts: &[String]) -> Result<Multipart, MultipartError> {
    let body = parts.concat() + "--XBOUND--\r\n";
    parse(TYPE, body.as_bytes(), Charset::UTF_8)
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn fields_are_read_in_order_and_may_repeat() {
    let form = parse_all(&[field("a", "1"), field(" b ", "한글"), field("a", "")]).unwrap();
    assert_eq!(
        form.fields,
        [pair("a", "1"), pair("b", "한글"), pair("a", "")]
    );
}

#[test]
fn without_a_closing_boundary_the_last_value_keeps_its_line_break() {
    let body = field("a", "1");
    let form = parse(TYPE, body.as_bytes(), Charset::UTF_8).unwrap();
    assert_eq!(form.fields, [pair("a", "1\r\n")]);
}

#[test]
fn of_a_file_only_the_name_is_kept() {
    let head = "Content-Disposition: form-data; name=\"f\"; filename=\"C:\\dir\\a&amp;b.txt\"";
    let form = parse_all(&[part(head, "data")]).unwrap();
    assert_eq!(form.files, [pair("f", "a&b.txt")]);
    assert!(form.fields.is_empty());
}

#[test]
fn a_file_that_is_cut_off_is_none() {
    let body = part(
        "Content-Disposition: form-data; name=\"f\"; filename=\"a\"",
        "data",
    );
    assert_eq!(
        parse(TYPE, body.as_bytes(), Charset::UTF_8),
        Ok(Multipart::default())
    );
}

#[test]
fn base64_fields_are_decoded_unless_they_are_malformed() {
    let head = "Content-Transfer-Encoding: BASE64\r\nContent-Disposition: form-data; name=\"a\"";
    let form = parse_all(&[part(head, "aGk="), part(head, "aGk")]).unwrap();
    assert_eq!(form.fields, [pair("a", "hi"), pair("a", "aGk")]);
}

#[test]
fn quoted_printable_fields_are_not_decoded() {
    let head =
        "Content-Transfer-Encoding: quoted-printable\r\nContent-Disposition: form-data; name=\"a\"";
    assert_eq!(
        parse_all(&[part(head, "a=3Db")]).unwrap().fields,
        [pair("a", "a=3Db")]
    );
}

#[test]
fn a_malformed_base64_file_is_refused() {
    let head = "Content-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"";
    let refused = MultipartError::Malformed("Could not decode base64 data.".to_owned());
    assert_eq!(parse_all(&[part(head, "aGk")]), Err(refused));
}

#[test]
fn an_rfc_2231_name_is_decoded() {
    let head = "Content-Disposition: form-data; name*=UTF-8''%ED%99%8D";
    assert_eq!(
        parse_all(&[part(head, "1")]).unwrap().fields,
        [pair("홍", "1")]
    );
}

#[test]
fn parts_without_a_name_are_passed_over() {
    let form = parse_all(&[
        part("X: y", "1"),
        part("Content-Disposition: form-data", "2"),
        field("a", "3"),
    ]);
    assert_eq!(form.unwrap().fields, [pair("a", "3")]);
}

#[test]
fn a_bad_content_type_is_told() {
    for (content_type, text) in [
        ("multipart/form-data", "Invalid boundary in multipart: None"),
        (
            "multipart/form-data; boundary=",
            "Invalid boundary in multipart: ",
        ),
        (
            "multipart/form-data; boundary=\"a \"",
            "Invalid boundary in multipart: a ",
        ),
        (
            "Multipart/form-data; boundary=a",
            "Invalid Content-Type: Multipart/form-data; boundary=a",
        ),
        (
            "multipart/é; boundary=a",
            "Invalid non-ASCII Content-Type in multipart: multipart/é; boundary=a",
        ),
    ] {
        let refused = parse(content_type, b"x", Charset::UTF_8);
        assert_eq!(
            refused,
            Err(MultipartError::Malformed(text.to_owned())),
            "{content_type}"
        );
    }
}

#[test]
fn a_head_must_fit_in_1024_bytes() {
    let long = part(&format!("X: {}", "x".repeat(1100)), "1");
    let text = "Request max total header size exceeded.";
    assert_eq!(
        parse_all(&[long]),
        Err(MultipartError::Malformed(text.to_owned()))
    );
}

#[test]
fn fields_are_suspicious_past_two_and_a_half_megabytes() {
    let most = "x".repeat(MAX_FIELD_BYTES - 3);
    assert!(parse_all(&[field("a", &most)]).is_ok());
    assert_eq!(
        parse_all(&[field("aa", &most)]),
        Err(MultipartError::Suspicious)
    );
    assert_eq!(
        parse_all(&[field("a", &most), field("", "")]),
        Err(MultipartError::Suspicious)
    );
}

#[test]
fn a_thousand_fields_and_a_hundred_files_are_taken_and_no_more() {
    assert!(parse_all(&vec![field("a", "1"); MAX_FIELDS]).is_ok());
    assert_eq!(
        parse_all(&vec![field("a", "1"); MAX_FIELDS + 1]),
        Err(MultipartError::Suspicious)
    );
    let file = part(
        "Content-Disposition: form-data; name=\"f\"; filename=\"a\"",
        "1",
    );
    assert_eq!(
        parse_all(&vec![file.clone(); MAX_FILES])
            .unwrap()
            .files
            .len(),
        MAX_FILES
    );
    assert_eq!(
        parse_all(&vec![file; MAX_FILES + 1]),
        Err(MultipartError::Suspicious)
    );
}
