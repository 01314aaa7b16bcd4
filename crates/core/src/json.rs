//! JSON as far as a signed token needs it: read strictly and never written. What is doubtful is not read.
//!
//! Here because the endpoint that checks a token and the API that ends one must read the same in it, and may not see each other; and
//! because what an identity token claims is judged here.

/// How deep values may lie in each other.
const DEEPEST: usize = 8;

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that is not whole, or too large for one, as it is written.
    Number(String),
    /// A whole number.
    Whole(i64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object: its members in order, each name once.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a document; nothing if it is not one, or names a member twice: two readers could then take different ones.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut reader = Reader { rest: text };
        let value = reader.value(0)?;
        reader.blank();
        reader.rest.is_empty().then_some(value)
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The texts, if it is a list of nothing else.
    pub fn texts(&self) -> Option<Vec<&str>> {
        let Self::List(items) = self else { return None };
        items.iter().map(Self::text).collect()
    }

    /// The number, if it is a whole one.
    pub fn whole(&self) -> Option<i64> {
        if let Self::Whole(number) = self { Some(*number) } else { None }
    }
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, start: &str) -> bool {
        match self.rest.strip_prefix(start) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        Some(next)
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEEPEST {
            return None;
        }
        self.blank();
        match self.rest.chars().next()? {
            '{' => self.object(depth),
            '[' => self.list(depth),
            '"' => self.string().map(Json::Text),
            '-' | '0'..='9' => self.number(),
            _ if self.take("null") => Some(Json::Null),
            _ if self.take("true") => Some(Json::Bool(true)),
            _ => self.take("false").then_some(Json::Bool(false)),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        let mut members: Vec<(String, Json)> = Vec::new();
        self.take("{");
        self.blank();
        if self.take("}") {
            return Some(Json::Object(members));
        }
        loop {
            self.blank();
            let name = self.string()?;
            self.blank();
            if !self.take(":") || members.iter().any(|(known, _)| *known == name) {
                return None;
            }
            members.push((name, self.value(depth + 1)?));
            self.blank();
            if self.take("}") {
                return Some(Json::Object(members));
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    fn list(&mut self, depth: usize) -> Option<Json> {
        let mut items = Vec::new();
        self.take("[");
        self.blank();
        if self.take("]") {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blank();
            if self.take("]") {
                return Some(Json::List(items));
            }
            if !self.take(",") {
                return None;
            }
        }
    }

    fn digits(&mut self) -> Option<&'t str> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!digits.is_empty()).then_some(digits)
    }

    fn number(&mut self) -> Option<Json> {
        let written = self.rest;
        let negative = self.take("-");
        let digits = self.digits()?;
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        let mut whole = true;
        if self.take(".") {
            self.digits()?;
            whole = false;
        }
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            self.digits()?;
            whole = false;
        }
        let number = digits.parse::<i64>().ok().filter(|_| whole);
        let own = written.get(..written.len() - self.rest.len())?;
        Some(number.map_or_else(
            || Json::Number(own.to_owned()),
            |number| Json::Whole(if negative { -number } else { number }),
        ))
    }

    fn string(&mut self) -> Option<String> {
        if !self.take("\"") {
            return None;
        }
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                control if control < ' ' => return None,
                plain => text.push(plain),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.next()? {
            same @ ('"' | '\\' | '/') => same,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                if !self.take("\\u") {
                    return None;
                }
                let second = self.unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + second);
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = rest;
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Json {
        Json::Text(text.to_owned())
    }

    #[test]
    fn documents_are_read_as_they_mean() {
        let read = |document: &str| Json::read(document.as_bytes());
        assert_eq!(read(r#""\"\\\/\b\f\n\r\t\u00e9é\ud83d\ude00""#), Some(text("\"\\/\u{8}\u{c}\n\r\téé😀")));
        assert_eq!(read(" [ 1 , -2,0, 1.5, 1e3, true ,null] "), {
            let number = |text: &str| Json::Number(text.to_owned());
            Some(Json::List(vec![
                Json::Whole(1),
                Json::Whole(-2),
                Json::Whole(0),
                number("1.5"),
                number("1e3"),
                Json::Bool(true),
                Json::Null,
            ]))
        });
        let object = read(r#"{"a":{"b":["x","y"]},"":{}}"#).unwrap();
        assert_eq!(object.get("a").unwrap().get("b").unwrap().texts(), Some(vec!["x", "y"]));
        assert_eq!(object.get("c"), None);
        assert_eq!(read("99999999999999999999"), Some(Json::Number("99999999999999999999".to_owned())));
    }

    #[test]
    fn what_is_doubtful_is_not_read() {
        for bad in [
            "",
            "{",
            "{}x",
            "{} {}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1,}"#,
            "[1,]",
            "[1 2]",
            "{'a':1}",
            "{a:1}",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "-",
            "nul",
            "NaN",
            "\"\n\"",
            r#""\x""#,
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            r#""\u00g0""#,
            r#""\u+123""#,
            "\"open",
            "[[[[[[[[[[1]]]]]]]]]]",
        ] {
            assert_eq!(Json::read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Json::read(b"\"\xff\""), None);
    }

    proptest! {
        #[test]
        fn noise_is_read_or_not_and_never_panics(noise in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Json::read(&noise);
        }

        #[test]
        fn near_json_never_panics(noise in r#"[\[\]{}:,"\\u0-9a-fe+. -]{0,40}"#) {
            let _ = Json::read(noise.as_bytes());
        }
    }
}
