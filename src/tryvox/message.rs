//! The message of an error response: the bytes of its body go in, a short text that is safe to show comes out.

use serde_json::Value;

use super::redaction::Redactor;

/// Maximum length of a message, in characters.
const MAX_CHARS: usize = 200;

/// The fields of a JSON body that may have the message, in the order in which they are tried.
const FIELDS: [&str; 4] = ["message", "error", "detail", "title"];

/// Maximum depth at which a message is looked for in a JSON body.
const MAX_DEPTH: usize = 4;

/// Returns the message in the body of an error response: of a JSON body the `message`, `error`, `detail` or `title`, also
/// nested, of an HTML body the title, of any other text its beginning. White space and control characters are collapsed,
/// keys are removed before anything is cut, and at most 200 characters are kept.
pub(super) fn parse(body: &[u8], redactor: &Redactor) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}');
    let message = match serde_json::from_str::<Value>(text) {
        Ok(json) => clean(find(&json, MAX_DEPTH)?),
        Err(_) => clean(text_message(text)?),
    };
    (!message.is_empty()).then(|| truncate(redactor.quote(&message)))
}

/// Returns the message of a JSON value.
fn find(json: &Value, depth: usize) -> Option<&str> {
    let depth = depth.checked_sub(1)?;
    match json {
        Value::String(text) => Some(text.as_str()).filter(|text| !text.trim().is_empty()),
        Value::Array(values) => values.iter().find_map(|value| find(value, depth)),
        Value::Object(fields) => FIELDS.into_iter().chain(["errors"]).find_map(|name| find(fields.get(name)?, depth)),
        _ => None,
    }
}

/// Returns the title of an HTML page, or any other text as it is. Text that looks like JSON is JSON that was cut off.
fn text_message(text: &str) -> Option<&str> {
    let text = text.trim_start();
    if text.starts_with(['{', '[']) {
        return None;
    }
    if !text.starts_with('<') {
        return Some(text);
    }
    // The positions are those in `text`, as only ASCII letters are changed.
    let lower = text.to_ascii_lowercase();
    let tag = lower.find("<title")?;
    let start = tag + lower[tag..].find('>')? + 1;
    let end = start + lower[start..].find("</title>")?;
    Some(&text[start..end])
}

/// Replaces each run of white space by a space and removes other control characters and those that change the direction
/// of text.
pub(super) fn clean(text: &str) -> String {
    let is_invisible =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let words = text
        .split_whitespace()
        .map(|word| -> String { word.chars().filter(|c| !c.is_control() && !is_invisible(*c)).collect() });
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn truncate(text: String) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        // The ellipsis is one of the characters.
        Some(_) => text.chars().take(MAX_CHARS - 1).chain(['…']).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tryvox::ApiKey;

    fn message(body: &str) -> Option<String> {
        parse(body.as_bytes(), &Redactor::new(vec![ApiKey::new(&"sesame".into()).unwrap()]))
    }

    #[test]
    fn message_is_found_in_json_html_and_text() {
        for (body, expected) in [
            (r#"{"error":{"code":"closed","message":"account closed"}}"#, "account closed"),
            (r#"{"message":"account closed","error":"x"}"#, "account closed"),
            (r#"{"error":"account closed"}"#, "account closed"),
            (r#"{"type":"about:blank","title":"account closed","status":403}"#, "account closed"),
            (r#"{"detail":[{"message":"account closed"}]}"#, "account closed"),
            (r#"{"errors":[{"detail":"account closed"}]}"#, "account closed"),
            (r#""account closed""#, "account closed"),
            ("account  closed\r\n", "account closed"),
            ("<html><head><TITLE id=x>account\nclosed</TITLE></head></html>", "account closed"),
            ("\u{feff}{\"message\":\"account closed\"}", "account closed"),
        ] {
            assert_eq!(message(body).as_deref(), Some(expected), "{body}");
        }
        for none in
            ["", " ", "{}", "null", "7", r#"{"message":" "}"#, r#"{"message":"cut"#, "<p>x</p>", "[[[[[\"deep\"]]]]]"]
        {
            assert_eq!(message(none), None, "{none}");
        }
    }

    #[test]
    fn message_is_short_and_has_neither_control_characters_nor_the_key() {
        let text = format!(r#"{{"message":"bad\u001b[2J\u202e\nkey ses\u0000ame {}"}}"#, "x".repeat(300));
        let message = message(&text).unwrap();
        assert!(message.starts_with("bad[2J key <key> xxx") && message.ends_with("x…"), "{message}");
        assert_eq!(message.chars().count(), MAX_CHARS);
        // A key at the end is redacted before the text is cut in its middle.
        let text = format!("{} sesame and more", "y".repeat(MAX_CHARS - 5));
        assert!(!self::message(&text).unwrap().contains("ses"));
    }
}
