//! The demo, and its own check of what it promises.

use std::time::{Duration, Instant};

use crate::process::{Server, ran, valetkey};

#[test]
fn the_check_passes_and_is_quick() {
    let started = Instant::now();
    let output = ran(&mut valetkey(&["dev", "--check"]));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("WARN"), "its own directory is nobody else's: {said}");
    assert!(said.contains("0 failed") && !said.contains("FAILED"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn the_demo_is_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::dev(dir.path());
    let callers = first.ready["callers"].clone();
    first.stop();
    let second = Server::dev(dir.path());
    assert_eq!(second.ready["callers"], callers);
    assert!(callers.as_array().unwrap().len() >= 2);
    second.stop();
}
