//! An evaluator of session policies, written from the IAM User Guide ("Policy evaluation logic", "IAM JSON policy elements",
//! "Variables and tags") and neither from the code that writes them nor from that which reads them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "what it cannot read fails the test that asks"
)]

use serde_json::Value;

/// Whether a store knows `${*}`.
#[derive(Clone, Copy, Debug)]
pub enum Escapes {
    /// It does.
    Known,
    /// It does not.
    Unknown,
}

/// A piece of a pattern.
#[derive(Debug, PartialEq)]
pub enum Token {
    /// This character.
    Char(char),
    /// Any one character.
    One,
    /// Any run of characters.
    Many,
}

/// Takes a pattern apart.
pub fn pattern(text: &str, escapes: Escapes) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    'next: while let Some(c) = rest.chars().next() {
        if matches!(escapes, Escapes::Known) && rest.starts_with("${") {
            for special in ['*', '?', '$'] {
                if let Some(behind) = rest.strip_prefix(&format!("${{{special}}}")) {
                    tokens.push(Token::Char(special));
                    rest = behind;
                    continue 'next;
                }
            }
            panic!("a variable that IAM would look up: {text}");
        }
        tokens.push(match c {
            '*' => Token::Many,
            '?' => Token::One,
            c => Token::Char(c),
        });
        rest = behind(rest);
    }
    tokens
}

/// The text without its first character.
fn behind(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

/// Whether the pattern matches the whole text. The last `*` is the only one worth going back to.
pub fn matches(pattern: &[Token], text: &str) -> bool {
    let (mut at, mut rest, mut star) = (0, text, None);
    loop {
        let first = rest.chars().next();
        match (pattern.get(at), first) {
            (Some(Token::Many), _) => {
                star = Some((at, rest));
                at += 1;
            }
            (Some(Token::One), Some(_)) => (at, rest) = (at + 1, behind(rest)),
            (Some(Token::Char(own)), Some(c)) if *own == c => (at, rest) = (at + 1, behind(rest)),
            (None, None) => return true,
            _ => {
                // Let the last star take one character more.
                let Some((from, taken)) = star else { return false };
                if taken.is_empty() {
                    return false;
                }
                (at, rest) = (from + 1, behind(taken));
                star = Some((from, rest));
            }
        }
    }
}

/// What a rule says of actions or resources: which they are, or which they are not.
struct Among<T> {
    is_in: bool,
    of: Vec<T>,
}

impl<T> Among<T> {
    fn holds(&self, one: impl Fn(&T) -> bool) -> bool {
        self.of.iter().any(one) == self.is_in
    }
}

struct Rule {
    is_deny: bool,
    actions: Among<String>,
    resources: Among<Vec<Token>>,
    /// Each key with the patterns of which one must match, or none.
    like: Vec<(String, Among<Vec<Token>>)>,
}

impl Rule {
    /// Every condition must hold. What must be like something must be in the request; what must not be need not.
    fn matches(&self, action: &str, resource: &str, context: &[(&str, &str)]) -> bool {
        self.actions.holds(|own| own.eq_ignore_ascii_case(action))
            && self.resources.holds(|pattern| matches(pattern, resource))
            && self.like.iter().all(|(key, values)| {
                let value = context.iter().find(|(k, _)| k == key);
                values.holds(|pattern| value.is_some_and(|(_, value)| matches(pattern, value)))
            })
    }
}

/// A policy that can be asked.
pub struct Evaluator(Vec<Rule>);

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) if !many.is_empty() => many.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
        other => panic!("neither a string nor a list of some: {other}"),
    }
}

impl Evaluator {
    /// Reads a policy, of the forms that are written here.
    pub fn new(policy: &str, escapes: Escapes) -> Self {
        assert!(policy.bytes().all(|b| (0x20..0x7f).contains(&b)), "{policy}");
        let policy: Value = serde_json::from_str(policy).unwrap();
        assert_eq!(policy["Version"], "2012-10-17", "without it there are no escapes");
        let compile = |value: &Value| strings(value).iter().map(|text| pattern(text, escapes)).collect();
        let rules = policy["Statement"].as_array().unwrap().iter().map(|statement| {
            let is_deny = statement["Effect"] == "Deny";
            assert!(is_deny || statement["Effect"] == "Allow");
            for key in statement.as_object().unwrap().keys() {
                let known = ["Effect", "Action", "Resource", "Condition", "Principal"].contains(&key.as_str());
                assert!(known || is_deny && ["NotAction", "NotResource"].contains(&key.as_str()), "{key}");
            }
            // One of the two, never both.
            let among = |name: &str| {
                let (is, is_not) = (statement.get(name), statement.get(format!("Not{name}")));
                assert!(is.is_some() != is_not.is_some(), "{statement}");
                (is.is_some(), is.or(is_not).unwrap())
            };
            let mut like = Vec::new();
            for (operator, keys) in statement.get("Condition").into_iter().flat_map(|all| all.as_object().unwrap()) {
                let is_in = operator == "StringLike";
                assert!(is_in || is_deny && operator == "StringNotLike", "{operator}");
                let keys = keys.as_object().unwrap();
                like.extend(keys.iter().map(|(key, values)| (key.clone(), Among { is_in, of: compile(values) })));
            }
            let ((is_in, actions), (on, resources)) = (among("Action"), among("Resource"));
            let actions = strings(actions);
            assert!(actions.iter().all(|action| !action.contains(['*', '?'])), "{actions:?}");
            let actions = Among { is_in, of: actions };
            Rule { is_deny, actions, resources: Among { is_in: on, of: compile(resources) }, like }
        });
        Self(rules.collect())
    }

    /// Something allows it and nothing denies it. A policy that denies anything denies all that it does not allow, so that it holds
    /// beside others that allow everything.
    pub fn allows(&self, action: &str, resource: &str, context: &[(&str, &str)]) -> bool {
        let any = |is_deny| self.0.iter().any(|r| r.is_deny == is_deny && r.matches(action, resource, context));
        let (allowed, denied) = (any(false), any(true));
        if self.0.iter().any(|rule| rule.is_deny) {
            assert_ne!(allowed, denied, "{action} on {resource} with {context:?}");
        }
        allowed && !denied
    }
}
