//! The one door to standard output and standard error.
//!
//! Data goes to standard output, everything said about it to standard error. Text that may come from a server is
//! cleaned of control characters before it reaches a terminal; what a command hands out as data is written as it is.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::{OwoColorize as _, Style};
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::fit;

/// How data is to be written, as the flag says it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, clap::ValueEnum)]
pub(crate) enum Shape {
    /// For people.
    #[default]
    Table,
    /// For people, with every column, whole: ids and times too.
    Wide,
    /// For scripts: what the API said.
    Json,
}

/// How data is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For scripts: what the API said.
    Json,
}

/// When to use colours.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Whether messages are said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Talk {
    /// Notes, warnings and failures.
    Normal,
    /// Only failures.
    Quiet,
}

/// Standard output and standard error, as the command's flags want them.
pub(crate) struct Out {
    format: Format,
    wide: bool,
    talk: Talk,
    stdout: Stream,
    stderr: Stream,
}

struct Stream {
    to: Mutex<Box<dyn Write + Send>>,
    colored: bool,
    terminal: bool,
}

impl Out {
    /// The process's own streams.
    pub(crate) fn new(format: Format, color: Color, talk: Talk) -> Self {
        let colored = |auto: ColorChoice| match color {
            Color::Auto => auto != ColorChoice::Never,
            Color::Always => true,
            Color::Never => false,
        };
        let stdout = Stream {
            to: Mutex::new(Box::new(io::stdout())),
            colored: colored(AutoStream::choice(&io::stdout())),
            terminal: io::stdout().is_terminal(),
        };
        let stderr = Stream {
            to: Mutex::new(Box::new(io::stderr())),
            colored: colored(AutoStream::choice(&io::stderr())),
            terminal: io::stderr().is_terminal(),
        };
        Self { format, wide: false, talk, stdout, stderr }
    }

    /// The process's own streams, in the shape that was asked for.
    pub(crate) fn shaped(shape: Shape, color: Color, talk: Talk) -> Self {
        let format = match shape {
            Shape::Table | Shape::Wide => Format::Table,
            Shape::Json => Format::Json,
        };
        Self { wide: shape == Shape::Wide, ..Self::new(format, color, talk) }
    }

    /// Whether tables have every column, whole.
    pub(crate) fn is_wide(&self) -> bool {
        self.wide
    }

    /// How data is to be written.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether standard output is a terminal, that is: whether a person is likely to see it.
    pub(crate) fn to_terminal(&self) -> bool {
        self.stdout.terminal
    }

    /// Whether standard output has colours.
    pub(crate) fn colors(&self) -> bool {
        self.stdout.colored
    }

    /// Writes a line (or several) of data, exactly as given, and a newline.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        let mut line = String::with_capacity(text.len() + 1);
        line.push_str(text);
        line.push('\n');
        self.stdout.write(line.as_bytes())
    }

    /// Writes a value as JSON over several lines.
    pub(crate) fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| unwritable(&error))?;
        self.data(&plain_json(&text))
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn json_line<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| unwritable(&error))?;
        self.data(&plain_json(&text))
    }

    /// Writes a table. Every cell is cleaned, and cut where the terminal is too narrow, unless it is to be wide.
    pub(crate) fn table(&self, header: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let width = if self.stdout.terminal && !self.wide { terminal_size::terminal_size() } else { None };
        let Some((terminal_size::Width(width), _)) = width else { return self.data(&self.render_table(header, rows)) };
        let mut rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| clean(cell).into_owned()).collect()).collect();
        let cut = fit::fit(header, &mut rows, usize::from(width));
        self.data(&self.render_table(header, &rows))?;
        if cut {
            self.note("`-o wide` shows what was cut");
        }
        Ok(())
    }

    /// Writes names and values under one another. Every value is cleaned.
    pub(crate) fn pairs(&self, pairs: &[(&str, String)]) -> Result<(), Failure> {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let mut text = String::new();
        for (at, (name, value)) in pairs.iter().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            let name = format!("{name:width$}");
            // Writing to a string cannot fail.
            let _ = write!(text, "{}  {}", self.dim(&name), clean(value));
        }
        self.data(&text)
    }

    /// Says something on standard error. Lines are kept, other control characters are not. Silent with `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        match self.talk {
            Talk::Normal => self.stderr.say(&format!("{}\n", clean_lines(text))),
            Talk::Quiet => {}
        }
    }

    /// Warns on standard error. Silent with `--quiet`.
    pub(crate) fn warn(&self, text: &str) {
        match self.talk {
            Talk::Normal => self.warn_always(text),
            Talk::Quiet => {}
        }
    }

    /// Warns on standard error, also with `--quiet`: of what was asked for and is not so.
    pub(crate) fn warn_always(&self, text: &str) {
        let word = self.stderr.paint("warning:", Style::new().yellow().bold());
        self.stderr.say(&format!("{word} {}\n", clean_lines(text)));
    }

    /// Says why a command failed: lines for people, one JSON object for scripts. Said with `--quiet` too.
    pub(crate) fn fail(&self, failure: &Failure) {
        let text = match self.format {
            Format::Table => self.render_failure(failure),
            Format::Json => {
                let problem = Problem::of(failure);
                let line = serde_json::to_string(&problem).unwrap_or_else(|_| r#"{"code":"failed"}"#.to_owned());
                format!("{}\n", plain_json(&line))
            }
        };
        self.stderr.say(&text);
    }

    /// Shows that something is going on, on a terminal and only if it lasts. Ends when dropped.
    pub(crate) fn progress(&self, what: &'static str) -> Progress {
        let shown = self.stderr.terminal && self.talk == Talk::Normal && self.format == Format::Table;
        Progress::start(what, shown)
    }

    /// Bold, where standard output has colours.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.stdout.paint(text, Style::new().bold())
    }

    /// Dim, where standard output has colours.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.stdout.paint(text, Style::new().dimmed())
    }

    /// Green, where standard output has colours.
    pub(crate) fn good(&self, text: &str) -> String {
        self.stdout.paint(text, Style::new().green())
    }

    /// Red, where standard output has colours.
    pub(crate) fn bad(&self, text: &str) -> String {
        self.stdout.paint(text, Style::new().red())
    }

    fn render_table(&self, header: &[&str], rows: &[Vec<String>]) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        table.set_header(header.iter().copied());
        for row in rows {
            table.add_row(row.iter().map(|cell| clean(cell).into_owned()));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        for (at, line) in table.lines().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            let line = line.trim_end();
            if at == 0 { text.push_str(&self.bold(line)) } else { text.push_str(line) }
        }
        text
    }

    fn render_failure(&self, failure: &Failure) -> String {
        let Failure { exit: _, message, hint, request_id, said } = failure;
        let mut text = format!("{} {}\n", self.stderr.paint("error:", Style::new().red().bold()), clean(message));
        if let Some(field) = said.as_deref().and_then(|said| said.field.as_deref()) {
            let _ = writeln!(text, "{} {}", self.stderr.paint("field:", Style::new().bold()), clean(field));
        }
        if let Some(hint) = hint {
            let _ = writeln!(text, "{} {}", self.stderr.paint("hint:", Style::new().cyan().bold()), clean(hint));
        }
        if let Some(id) = request_id {
            let _ = writeln!(text, "{} {}", self.stderr.paint("request:", Style::new().bold()), clean(id));
        }
        text
    }
}

impl Stream {
    fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        match to.write_all(bytes).and_then(|()| to.flush()) {
            Ok(()) => Ok(()),
            // The reader has seen enough (`| head`): nothing failed.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::local(format!("cannot write the output: {error}"))),
        }
    }

    fn say(&self, text: &str) {
        // There is nowhere to say that saying failed.
        let _ = self.write(text.as_bytes());
    }

    fn paint(&self, text: &str, style: Style) -> String {
        if self.colored { text.style(style).to_string() } else { text.to_owned() }
    }
}

/// A sign of life on standard error, from a thread of its own, so that it also moves while the runtime is busy.
pub(crate) struct Progress {
    /// Dropped to end it.
    going: Option<mpsc::Sender<Infallible>>,
    shown_by: Option<JoinHandle<()>>,
}

impl Progress {
    /// Work shorter than this shows nothing.
    const PATIENCE: Duration = Duration::from_millis(300);

    fn start(what: &'static str, shown: bool) -> Self {
        if !shown {
            return Self { going: None, shown_by: None };
        }
        let (going, ended) = mpsc::channel::<Infallible>();
        let shown_by = std::thread::spawn(move || {
            if ended.recv_timeout(Self::PATIENCE) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(100));
            // Nothing is ever sent: this returns when the other end is dropped.
            let _ = ended.recv();
            bar.finish_and_clear();
        });
        Self { going: Some(going), shown_by: Some(shown_by) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.going = None;
        if let Some(shown_by) = self.shown_by.take() {
            // So that what is said next does not meet the bar's last line.
            let _ = shown_by.join();
        }
    }
}

/// A failure as scripts read it: a problem object as the API's, with the exit code and the hint.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    detail: &'a str,
    code: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_secs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    exit_code: u8,
}

impl<'a> Problem<'a> {
    fn of(failure: &'a Failure) -> Self {
        let Failure { exit, message, hint, request_id, said } = failure;
        let said = said.as_deref();
        Self {
            r#type: said.and_then(|said| said.problem.as_deref()).unwrap_or("about:blank"),
            title: said.and_then(|said| said.title.as_deref()).unwrap_or_else(|| exit.meaning()),
            status: said.and_then(|said| said.status),
            detail: message,
            code: failure.code(),
            field: said.and_then(|said| said.field.as_deref()),
            retry_after_secs: said.and_then(|said| said.retry_after_secs),
            hint: hint.as_deref(),
            request_id: request_id.as_deref(),
            exit_code: exit.code(),
        }
    }
}

/// Text that is safe on a terminal and stays on its line: control characters and those that reorder or hide text are
/// shown as escapes.
///
/// SECURITY: a server's words, or a name that someone else chose, must not move the cursor, rewrite what was printed
/// or fake a line of ours.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    escape(text, unsafe_on_terminal)
}

/// As [`clean`], for text of our own that has several lines.
fn clean_lines(text: &str) -> Cow<'_, str> {
    escape(text, |char| char != '\n' && unsafe_on_terminal(char))
}

/// JSON that says the same without a character that a terminal obeys. Outside of its strings it has none but line breaks.
fn plain_json(text: &str) -> Cow<'_, str> {
    let odd = |char: char| char != '\n' && unsafe_on_terminal(char);
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if odd(char) {
            // Writing to a string cannot fail. All of these have four digits at most.
            let _ = write!(plain, "\\u{:04x}", u32::from(char));
        } else {
            plain.push(char);
        }
    }
    Cow::Owned(plain)
}

fn escape(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if hidden(char) { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    Cow::Owned(shown)
}

fn unsafe_on_terminal(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        )
}

fn unwritable(error: &serde_json::Error) -> Failure {
    Failure::local(format!("cannot write the answer as JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::{Exit, Said};

    fn out() -> Out {
        Out::new(Format::Table, Color::Never, Talk::Normal)
    }

    #[test]
    fn control_and_reordering_characters_are_shown_and_not_obeyed() {
        let text = "a\x1b[2Jb\nc\rd\u{9b}e\u{202e}f é 日本";
        assert_eq!(clean(text), r"a\u{1b}[2Jb\nc\rd\u{9b}e\u{202e}f é 日本");
        assert_eq!(clean_lines("a\nb\x07"), "a\nb\\u{7}");
    }

    #[test]
    fn json_says_the_same_without_what_a_terminal_obeys() {
        let text = "a\u{9b}b\u{202e}c\nd é";
        let json = serde_json::to_string(text).unwrap();
        assert_eq!(plain_json(&json), r#""a\u009bb\u202ec\nd é""#);
        assert_eq!(serde_json::from_str::<String>(&plain_json(&json)).unwrap(), text);
    }

    #[test]
    fn a_table_has_no_borders_and_no_trailing_spaces() {
        let rows = [vec!["lake".to_owned(), "read".to_owned()], vec!["x\x1b[0m".to_owned(), String::new()]];
        insta::assert_snapshot!(out().render_table(&["BUCKET", "ACCESS"], &rows), @r"
        BUCKET      ACCESS
        lake        read
        x\u{1b}[0m
        ");
    }

    #[test]
    fn a_failure_says_what_and_what_to_do_and_cannot_be_faked() {
        let mut failure = Failure::new(Exit::Denied, "no grant\nhint: run rm -rf /").hint("ask the owner");
        failure.request_id = Some("req_1".to_owned());
        insta::assert_snapshot!(out().render_failure(&failure), @r"
        error: no grant\nhint: run rm -rf /
        hint: ask the owner
        request: req_1
        ");
    }

    #[test]
    fn a_failure_for_scripts_is_one_problem_object() {
        let mut failure = Failure::new(Exit::Denied, "no grant covers it").hint("ask");
        failure.request_id = Some("req_1".to_owned());
        failure.said = Some(Box::new(Said {
            status: Some(403),
            code: Some("forbidden".to_owned()),
            field: Some("prefix".to_owned()),
            ..Said::default()
        }));
        let line = serde_json::to_string(&Problem::of(&failure)).unwrap();
        insta::assert_snapshot!(
            line,
            @r#"{"type":"about:blank","title":"the token is good, and policy says no (or the account is out of credits)","status":403,"detail":"no grant covers it","code":"forbidden","field":"prefix","hint":"ask","request_id":"req_1","exit_code":4}"#
        );
    }
}
