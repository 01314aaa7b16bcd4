//! The binary as a child process: started, awaited by its ready line, ended.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::Mutex;

use serde_json::Value;

/// The binary, with nothing of the surrounding environment that it reads.
pub(crate) fn valetkey(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_valetkey"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VALETKEY_") {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// Runs a command to its end.
pub(crate) fn ran(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// Runs a command that must succeed, and reads its JSON.
pub(crate) fn answered(command: &mut Command) -> Value {
    let output = ran(command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// What it logs, and what of it was read.
    log: Mutex<(BufReader<ChildStderr>, String)>,
    /// What its ready line said.
    pub(crate) ready: Value,
}

impl Server {
    /// Starts it and waits for its ready line.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str(&line) else {
            let _ = child.kill();
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("no ready line but {line:?}; {said}");
        };
        let log = Mutex::new((BufReader::new(child.stderr.take().unwrap()), String::new()));
        Self { child, log, ready }
    }

    /// Starts it and waits for a line with these words; gives what it wrote for people until then.
    pub(crate) fn said(command: &mut Command, words: &str) -> (Self, String) {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap());
        while !said.contains(words) {
            assert!(lines.read_line(&mut said).unwrap() > 0, "it ended without saying {words:?}: {said}");
        }
        let log = Mutex::new((BufReader::new(child.stderr.take().unwrap()), String::new()));
        (Self { child, log, ready: Value::Null }, said)
    }

    /// Starts `valetkey dev` in a directory, on free ports.
    pub(crate) fn dev(dir: &Path) -> Self {
        let dir = dir.to_str().unwrap();
        Self::start(&mut valetkey(&[
            "dev",
            "--data-dir",
            dir,
            "--api-listen",
            "127.0.0.1:0",
            "--s3-listen",
            "127.0.0.1:0",
            "--output",
            "json",
        ]))
    }

    pub(crate) fn api(&self) -> &str {
        self.ready["api"].as_str().unwrap()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and gives what it had logged.
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        let mut said = std::mem::take(&mut self.log.get_mut().unwrap().1);
        self.log.get_mut().unwrap().0.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }

    /// Waits until it logs these words.
    pub(crate) fn logged(&self, words: &str) {
        let mut log = self.log.lock().unwrap();
        let (lines, said) = &mut *log;
        loop {
            let from = said.len();
            assert!(lines.read_line(said).unwrap() > 0, "it ended without saying {words:?}: {said}");
            if said.get(from..).is_some_and(|line| line.contains(words)) {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
