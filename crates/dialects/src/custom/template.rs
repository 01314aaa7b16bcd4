//! Answers and refusals as templates. Whatever is put in is written as JSON, so that nothing of a request breaks out of its place, and
//! what comes of it is an answer only if all of it is JSON.

use std::collections::BTreeMap;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, filters, tests};
use serde::de::IgnoredAny;

/// What a template may name.
pub(super) type Values = BTreeMap<&'static str, Value>;

/// The most bytes of one: the longest published answer that we write has some 300.
const MOST_BYTES: usize = 16 * 1024;
/// The most steps that writing one takes: a credential's longest answer takes some hundred.
const MOST_STEPS: u64 = 50_000;
/// The most bytes of what is written, and of a text in it: a session token has some thousand, and a scope may have 8 KiB of paths.
const MOST_WRITTEN: usize = 256 * 1024;
const NAME: &str = "template";
/// Stands for any value while templates are checked: what is most likely to break JSON.
pub(super) const NASTY: &str = "a\"b\\c\n}";

/// One answer, with places for values.
pub(super) struct Template(Environment<'static>);

impl Template {
    /// Reads a template.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > MOST_BYTES {
            return Err(format!("has {} bytes; the most is {MOST_BYTES}", text.len()));
        }
        // No function, and of the filters those that make an answer: none of them writes a text as it is.
        let mut environment = Environment::empty();
        // SECURITY: not the engine's own escaping, which a template can switch off for a value.
        environment.set_formatter(|out, _, value| {
            if value.is_undefined() {
                return Err(ErrorKind::UndefinedError.into());
            }
            let json = serde_json::to_string(value).map_err(|_| Error::from(ErrorKind::BadSerialization))?;
            out.write_str(&json).map_err(Error::from)
        });
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(MOST_STEPS));
        environment.add_filter("first", filters::first);
        environment.add_filter("join", join);
        environment.add_filter("lower", filters::lower);
        environment.add_filter("replace", replace);
        environment.add_filter("split", split);
        environment.add_filter("upper", filters::upper);
        environment.add_test("none", tests::is_none);
        environment.add_template_owned(NAME, text.to_owned()).map_err(|error| said(&error))?;
        Ok(Self(environment))
    }

    /// Writes the answer, without the spaces between its parts.
    pub(super) fn write(&self, values: &Values) -> Result<Vec<u8>, String> {
        let template = self.0.get_template(NAME).map_err(|error| said(&error))?;
        let text = template.render(values).map_err(|error| said(&error))?;
        if text.len() > MOST_WRITTEN {
            return Err(format!("writes {} bytes; the most is {MOST_WRITTEN}", text.len()));
        }
        let whole = serde_json::from_str::<IgnoredAny>(&text);
        whole.map_err(|_| "does not write JSON; values have their own quotes: `{{ value }}`".to_owned())?;
        Ok(compact(&text))
    }
}

/// JSON without what stands between its parts.
fn compact(text: &str) -> Vec<u8> {
    let (mut out, mut in_string, mut escaped) = (Vec::with_capacity(text.len()), false, false);
    for byte in text.bytes() {
        if in_string || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        in_string ^= byte == b'"' && !escaped;
        escaped = in_string && byte == b'\\' && !escaped;
    }
    out
}

/// Refuses a text that grows without a bound.
fn bounded(bytes: usize) -> Result<(), Error> {
    let too_long = || Error::new(ErrorKind::InvalidOperation, "a string becomes too long");
    (bytes <= MOST_WRITTEN).then_some(()).ok_or_else(too_long)
}

#[expect(clippy::needless_pass_by_value, reason = "the engine hands a list over")]
fn join(parts: Vec<String>, between: &str) -> Result<String, Error> {
    bounded(parts.iter().map(|part| part.len().saturating_add(between.len())).sum())?;
    Ok(parts.join(between))
}

fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    bounded(text.len().saturating_add(text.matches(from).count().saturating_mul(to.len())))?;
    Ok(text.replace(from, to))
}

fn split(text: &str, at: &str) -> Vec<String> {
    text.split(at).map(str::to_owned).collect()
}

/// What is wrong with a template: the kind and the line, and never a value.
fn said(error: &Error) -> String {
    let line = error.line().map_or(String::new(), |line| format!(" in its line {line}"));
    let detail = error.detail().filter(|_| error.kind() != ErrorKind::BadSerialization);
    format!("{}{line}{}", error.kind(), detail.map_or(String::new(), |detail| format!(": {detail}")))
}

#[cfg(test)]
mod tests_of_templates {
    use super::*;

    fn written(text: &str, value: &str) -> Result<String, String> {
        let values = Values::from([("value", Value::from(value)), ("none", Value::from(()))]);
        let bytes = Template::read(text)?.write(&values)?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_value_never_leaves_its_string() {
        for nasty in ["\"", "\\", "\\\"", "\n", "\u{0}", "}},{{", "\u{2028}", "</script>", "{% raw %}", "é", "a \" b"]
        {
            let text = written(r#"{"a": {{ value }},"b":{{ value ~ "/" ~ value }},"c":{{ none }}}"#, nasty).unwrap();
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!((&read["a"], &read["b"]), (&nasty.into(), &format!("{nasty}/{nasty}").into()));
            assert_eq!(read.as_object().unwrap().len(), 3);
        }
        assert_eq!(written(r#" {"a":{{ value|split(".") }}} "#, "b.c").unwrap(), r#"{"a":["b","c"]}"#);
        // What was written once is a text like any other.
        let text = r#"{% set all %}{"x":{{ value }}}{% endset %}{% autoescape false %}[{{ all }}]{% endautoescape %}"#;
        assert_eq!(written(text, "y").unwrap(), r#"["{\"x\":\"y\"}"]"#);
    }

    #[test]
    fn spaces_stand_only_in_strings() {
        let text = "{\n  \"a b\": {{ value }},\n  \"c\\\"  \\\\\" : [ 1, 2 ]\n}";
        assert_eq!(written(text, "x \\\" y").unwrap(), r#"{"a b":"x \\\" y","c\"  \\":[1,2]}"#);
    }

    #[test]
    fn what_is_not_json_is_no_answer() {
        for text in [
            r#"{"a":"{{ value }}"}"#,
            r#"{"a":{{ value }}"#,
            "{{ nothing }}",
            "{{ value|safe }}",
            "{{ value|tojson }}",
            "{{ range(3) }}",
            r#"{% autoescape false %}{"a":"{{ value }}"}{% endautoescape %}"#,
            r#"{% include "template" %}"#,
            "{{",
            "",
        ] {
            assert!(written(text, "x").is_err(), "{text}");
        }
    }

    #[test]
    fn a_template_that_never_ends_is_ended() {
        let endless = "[{% for a in v %}{% for b in v %}{% for c in v %}{% endfor %}{% endfor %}{% endfor %}1]";
        let endless = endless.replace('v', "[1] * 900");
        assert!(written(&endless, "x").unwrap_err().contains("fuel"), "{:?}", written(&endless, "x"));
        for text in [
            "{{ value * 300000 }}",
            "{{ value|replace('', value)|replace('', value) }}",
            "{{ ([value] * 400)|join(value) }}",
        ] {
            let said = written(text, &"x".repeat(900)).unwrap_err();
            assert!(["too l", "the most is", "fuel"].iter().any(|word| said.contains(word)), "{text}: {said}");
        }
    }
}
