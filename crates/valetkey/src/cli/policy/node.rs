//! Values of a file, each with its place: YAML, TOML and JSON are read into the same.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde_json::Value;
use toml::de::{DeTable, DeValue};

/// The deepest nesting that is read: a policy has eight levels.
const DEEPEST: usize = 32;

/// A place in a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct At {
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: At,
    /// The line that it ends in.
    pub(super) ends: usize,
    pub(super) is: Is,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Is {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, At, Node)>),
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: At,
    pub(super) said: String,
}

impl Node {
    /// The value without places.
    pub(super) fn value(&self) -> Value {
        match &self.is {
            Is::Null => Value::Null,
            Is::Bool(own) => Value::from(*own),
            Is::Number(own) => Value::from(*own),
            Is::Text(own) => Value::from(own.as_str()),
            Is::List(items) => items.iter().map(Self::value).collect(),
            Is::Map(pairs) => pairs.iter().map(|(name, _, value)| (name.clone(), value.value())).collect(),
        }
    }

    /// The pairs of a map.
    pub(super) fn pairs(&self) -> &[(String, At, Node)] {
        match &self.is {
            Is::Map(pairs) => pairs,
            Is::Null | Is::Bool(_) | Is::Number(_) | Is::Text(_) | Is::List(_) => &[],
        }
    }

    /// A field of a map, and where its name stands.
    pub(super) fn field(&self, name: &str) -> Option<(At, &Self)> {
        self.pairs().iter().find(|(own, _, _)| own == name).map(|(_, at, value)| (*at, value))
    }
}

/// Reads YAML, and JSON, which is YAML: one document without anchors, tags and duplicate keys.
pub(super) fn yaml(text: &str, file: usize) -> Result<Node, Wrong> {
    let mut reading = Yaml { parser: Parser::new_from_str(text), file };
    let mut found = None;
    loop {
        let (event, span) = reading.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::Nothing | Event::DocumentEnd => {}
            Event::DocumentStart(_) if found.is_some() => return Err(reading.wrong(span, "a file is one document")),
            Event::DocumentStart(_) => {
                let (event, span) = reading.next()?;
                found = Some(reading.value(event, span, 0)?);
            }
            _ => return Err(reading.wrong(span, "this cannot stand here")),
        }
    }
    let nothing = Wrong { at: At { file, line: 1, column: 1 }, said: "the file says nothing".to_owned() };
    found.ok_or(nothing)
}

struct Yaml<'a> {
    parser: Parser<'a, StrInput<'a>>,
    file: usize,
}

impl<'a> Yaml<'a> {
    fn at(&self, span: Span) -> At {
        At { file: self.file, line: span.start.line(), column: span.start.col() + 1 }
    }

    fn wrong(&self, span: Span, said: impl Into<String>) -> Wrong {
        Wrong { at: self.at(span), said: said.into() }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Wrong> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => {
                let at = At { file: self.file, line: error.marker().line(), column: error.marker().col() + 1 };
                Err(Wrong { at, said: error.info().to_owned() })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Wrong> {
        let at = self.at(span);
        if depth > DEEPEST {
            return Err(self.wrong(span, format!("this is nested deeper than {DEEPEST} levels")));
        }
        let (is, ends) = match event {
            Event::Alias(_) => return Err(self.wrong(span, "aliases (`*name`) are not taken: say it again")),
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                return Err(self.wrong(span, "anchors (`&name`) are not taken"));
            }
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                return Err(self.wrong(span, "tags (`!name`) are not taken"));
            }
            Event::Scalar(text, ScalarStyle::Plain, ..) => (self.plain(&text, span)?, span.end.line()),
            Event::Scalar(text, ..) => (Is::Text(text.into_owned()), span.end.line()),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => break end,
                        (event, span) => items.push(self.value(event, span, depth + 1)?),
                    }
                };
                (Is::List(items), end.end.line())
            }
            Event::MappingStart(..) => {
                let mut pairs: Vec<(String, At, Node)> = Vec::new();
                let end = loop {
                    let (event, key) = self.next()?;
                    let name = match event {
                        Event::MappingEnd => break key,
                        Event::Scalar(_, _, anchor, tag) if anchor != 0 || tag.is_some() => {
                            return Err(self.wrong(key, "anchors and tags are not taken"));
                        }
                        Event::Scalar(text, ..) => text.into_owned(),
                        _ => return Err(self.wrong(key, "a key is a string")),
                    };
                    if let Some((_, first, _)) = pairs.iter().find(|(known, _, _)| *known == name) {
                        return Err(self.wrong(key, format!("`{name}` is said twice, first in line {}", first.line)));
                    }
                    let place = self.at(key);
                    let (event, span) = self.next()?;
                    pairs.push((name, place, self.value(event, span, depth + 1)?));
                };
                (Is::Map(pairs), end.end.line())
            }
            _ => return Err(self.wrong(span, "this cannot stand here")),
        };
        Ok(Node { at, ends, is })
    }

    /// What is not quoted, by YAML 1.2: `yes` and `no` are strings.
    fn plain(&self, text: &str, span: Span) -> Result<Is, Wrong> {
        Ok(match text {
            "" | "~" | "null" | "Null" | "NULL" => Is::Null,
            "true" | "True" | "TRUE" => Is::Bool(true),
            "false" | "False" | "FALSE" => Is::Bool(false),
            text => match text.parse::<i64>() {
                Ok(number) => Is::Number(number),
                Err(_) if is_number(text) => {
                    return Err(self.wrong(span, format!("`{text}` is a number to YAML; put it in quotes")));
                }
                Err(_) => Is::Text(text.to_owned()),
            },
        })
    }
}

/// Whether a string that is not quoted is a number to YAML.
pub(super) fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let begins = digits.starts_with(|char: char| char.is_ascii_digit() || char == '.');
    begins && (text.parse::<f64>().is_ok() || digits.starts_with("0x") || digits.starts_with("0o"))
        || matches!(digits.to_ascii_lowercase().as_str(), ".inf" | ".nan")
}

/// Reads TOML.
pub(super) fn toml(text: &str, file: usize) -> Result<Node, Wrong> {
    let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let places = Places { text, file, lines };
    let table = DeTable::parse(text).map_err(|error| Wrong {
        at: places.at(error.span().map_or(0, |span| span.start)),
        said: error.message().to_owned(),
    })?;
    let at = places.at(0);
    places.table(table.get_ref(), at)
}

struct Places<'a> {
    text: &'a str,
    file: usize,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Places<'_> {
    fn at(&self, offset: usize) -> At {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|last| self.lines.get(last)).copied().unwrap_or_default();
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        At { file: self.file, line, column }
    }

    fn table(&self, table: &DeTable<'_>, at: At) -> Result<Node, Wrong> {
        let mut pairs = Vec::new();
        for (name, value) in table {
            let place = self.at(name.span().start);
            pairs.push((name.get_ref().to_string(), place, self.value(value.get_ref(), self.at(value.span().start))?));
        }
        // In the order of the file.
        pairs.sort_by_key(|(_, at, _)| *at);
        Ok(Node { at, ends: at.line, is: Is::Map(pairs) })
    }

    fn value(&self, value: &DeValue<'_>, at: At) -> Result<Node, Wrong> {
        let wrong = |said: &str| Wrong { at, said: said.to_owned() };
        let is = match value {
            DeValue::String(text) => Is::Text(text.to_string()),
            DeValue::Boolean(own) => Is::Bool(*own),
            DeValue::Integer(own) => Is::Number(
                i64::from_str_radix(own.as_str(), own.radix()).map_err(|_| wrong("this number is too large"))?,
            ),
            DeValue::Datetime(own) => Is::Text(own.to_string()),
            DeValue::Float(_) => return Err(wrong("no field is a number with a fraction")),
            DeValue::Array(items) => {
                let items = items.iter().map(|item| self.value(item.get_ref(), self.at(item.span().start)));
                Is::List(items.collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => return self.table(table, at),
        };
        Ok(Node { at, ends: at.line, is })
    }
}
