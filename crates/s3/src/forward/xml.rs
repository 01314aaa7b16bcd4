//! A storage's documents: read whole and within bounds, and written again with nothing in them that was not asked for.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// No document of S3's is deeper than four.
const MAX_DEPTH: usize = 8;

/// An element: what is in it is text or other elements.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Node>,
}

/// The character that a reference stands for.
fn referred(reference: BytesRef<'_>) -> Option<String> {
    let name = reference.into_inner();
    let Some(number) = name.strip_prefix('#') else { return resolve_xml_entity(&name).map(str::to_owned) };
    let number = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(number.ok()?).map(String::from)
}

fn opened(start: &BytesStart<'_>) -> Node {
    Node { name: start.local_name().into_inner().to_owned(), ..Node::default() }
}

impl Node {
    /// Reads a document; nothing if it is not well-formed, not whole, or of a kind that no storage has.
    pub(super) fn parse(document: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(document).ok()?;
        let mut reader = Reader::from_str(text);
        let mut stack: Vec<Self> = Vec::new();
        let mut root: Option<Self> = None;
        loop {
            let done = match reader.read_event().ok()? {
                Event::Start(start) if stack.len() < MAX_DEPTH && root.is_none() => {
                    stack.push(opened(&start));
                    continue;
                }
                Event::Empty(start) if root.is_none() => opened(&start),
                Event::End(_) => stack.pop()?,
                Event::Text(text) => {
                    match stack.last_mut() {
                        Some(last) => last.text.push_str(&text.into_inner()),
                        None if text.into_inner().trim_matches([' ', '\t', '\r', '\n', '\u{feff}']).is_empty() => {}
                        None => return None,
                    }
                    continue;
                }
                Event::CData(text) => {
                    stack.last_mut()?.text.push_str(&text.into_inner());
                    continue;
                }
                Event::GeneralRef(reference) => {
                    stack.last_mut()?.text.push_str(&referred(reference)?);
                    continue;
                }
                Event::Decl(_) | Event::Comment(_) => continue,
                Event::Eof if stack.is_empty() => return root,
                Event::Start(_) | Event::Empty(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => return None,
            };
            match stack.last_mut() {
                Some(parent) => parent.children.push(done),
                None => root = Some(done),
            }
        }
    }

    /// A node with nothing but text.
    pub(super) fn of(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), text: text.into(), children: Vec::new() }
    }

    /// The first child of a name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of a name.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// Sets the text of a child that is there.
    pub(super) fn set(&mut self, name: &str, text: &str) {
        for child in self.children.iter_mut().filter(|child| child.name == name) {
            text.clone_into(&mut child.text);
            child.children.clear();
        }
    }

    /// Keeps only elements of these names, at any depth.
    pub(super) fn only(&mut self, names: &[&str]) {
        self.children.retain(|child| names.contains(&child.name.as_str()));
        for child in &mut self.children {
            child.only(names);
        }
        if !self.children.is_empty() {
            self.text.clear();
        }
    }

    /// Writes it, with the name space S3's documents have.
    pub(super) fn document(&self) -> String {
        let mut out = String::with_capacity(1024);
        self.write(&mut out, " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"");
        out
    }

    /// Writes it, without one.
    pub(super) fn bare(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, "");
        out
    }

    fn write(&self, out: &mut String, space: &str) {
        let Self { name, text, children } = self;
        out.extend(["<", name, space, ">"]);
        escape(text, out);
        for child in children {
            child.write(out, "");
        }
        out.extend(["</", name, ">"]);
    }
}

/// Writes text as XML has it. What it cannot carry goes as a number, as S3 has it.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\0'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => {
                out.push_str("&#");
                out.push_str(&u32::from(c).to_string());
                out.push(';');
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let text = "<?xml version=\"1.0\"?>\n<!-- x --><a:Root xmlns:a=\"x\"><Key>a&lt;b&#x1;&#13; <![CDATA[<&]]></Key>\n <Empty/></a:Root>\n";
        let node = Node::parse(text.as_bytes()).unwrap();
        assert_eq!(node.text_of("Key"), Some("a<b\u{1}\r <&"));
        let mut only = node.clone();
        only.only(&["Key"]);
        assert_eq!(only.bare(), "<Root><Key>a&lt;b&#1;&#13; &lt;&amp;</Key></Root>");
        assert_eq!(Node::parse(only.bare().as_bytes()), Some(only));
    }

    #[test]
    fn what_is_no_document_is_none() {
        for text in [
            "",
            "a",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>b",
            "<a>&who;</a>",
            "<!DOCTYPE html><html></html>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></a>",
            "<a>&#xD800;</a>",
        ] {
            assert_eq!(Node::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Node::parse(b"<a>\xff</a>"), None);
    }
}
