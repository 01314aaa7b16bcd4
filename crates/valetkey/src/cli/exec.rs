//! `valetkey exec`: runs a command with an agent of its own, which ends with it, and so does what it vended.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::process::{Child, Command};
use valetkey_core::Secret;

use crate::cli::agent::home::{Place, drawn};
use crate::cli::agent::login::Login;
use crate::cli::agent::serve::{self, Served};
use crate::cli::agent::variables::Variables;
use crate::cli::agent::{Agent, environment, work};
use crate::cli::creds::ask::{Ask, Wanted};
use crate::cli::creds::key::narrowed;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Out;

/// How long the end of a command may wait for what it was vended to be ended. It ends by itself, too.
const ENDING: Duration = Duration::from_secs(2);
/// What proves who the user is: the command gets what was vended, and no more.
const LOGIN: [&str; 2] = ["VALETKEY_TOKEN", "VALETKEY_TOKEN_FILE"];

const EXAMPLES: &str = "\
Examples:
  valetkey exec flights-daily -- aws s3 ls s3://flights-lake/flights/daily/
  valetkey exec s3://flights-lake/flights/daily -- python train.py
  valetkey exec flights-staging --access read-write -- ./nightly.sh
  valetkey exec --static flights-daily -- s3cmd ls s3://flights-lake/flights/daily/

The command gets variables that its storage's tools read. Those of S3 and Google renew for as long as it runs; when it ends, what
was vended for it is revoked. Its exit code is passed on; it is 127 if there is no such command, 126 if it cannot be run.";

/// Run a command whose tools find credentials that renew for as long as it runs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// One credential in variables, which does not renew: for tools that read nothing else
    #[arg(long = "static")]
    fixed: bool,
    #[command(flatten)]
    place: Place,
    /// The command, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command; without a login of its own, with the running agent's.
pub(crate) async fn run(
    args: Args,
    login: Result<Login<'_>, Failure>,
    quiet: &Out,
    out: &Out,
) -> Result<ExitCode, Failure> {
    let ask = args.wanted.ask(out)?;
    match login {
        Ok(login) => with_own(args, ask, &login, quiet, out).await,
        Err(failure) if failure.exit == Exit::Unauthenticated && !args.fixed => {
            // Without an agent, the answer is what is wrong with the login.
            let variables = environment(&args.place, &ask).await;
            let variables = variables.map_err(|other| if other.exit == Exit::Unreachable { failure } else { other })?;
            launch(&args.command, &variables, out).await
        }
        Err(failure) => Err(failure),
    }
}

async fn with_own(args: Args, ask: Ask, login: &Login<'_>, quiet: &Out, out: &Out) -> Result<ExitCode, Failure> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let door = serve::open(loopback, Some(ask.clone())).await.map_err(|error| serve::taken(loopback, &error))?;
    let main = door.address().unwrap_or(loopback);
    let home = args.place.home()?.below(&format!("exec-{}", std::process::id()))?;
    let Agent { served, opening, adding } = Agent::new(home, &Secret::new(drawn()), main, Some(ask.clone()));
    let command = command(&args, &ask, &served, out);
    let ended = work(&served, (opening, adding), vec![door], login, quiet, command).await;
    for slot in served.slots.all() {
        slot.end(login, ENDING).await;
    }
    served.home.remove();
    ended
}

async fn command(args: &Args, ask: &Ask, served: &Served, out: &Out) -> Result<ExitCode, Failure> {
    // Before the command starts: what is refused now would be refused in it.
    let key = served.slots.slot(ask)?.get(SignedDuration::ZERO).await?;
    for cut in &key.cuts {
        out.warn(cut);
    }
    for how in &key.narrowed {
        out.warn(&narrowed(how));
    }
    let variables = if args.fixed { Variables::fixed(&key) } else { serve::variables(ask, &key, served).await? };
    launch(&args.command, &variables, out).await
}

/// Starts a command and waits for its end.
async fn launch(words: &[OsString], variables: &Variables, out: &Out) -> Result<ExitCode, Failure> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::usage("there is no command after `--`"));
    };
    if let Some(warning) = &variables.warning {
        out.warn(warning);
    }
    let mut command = Command::new(program);
    command.args(arguments);
    for name in variables.unset.iter().map(String::as_str).chain(LOGIN) {
        command.env_remove(name);
    }
    command.envs(variables.set.iter().map(|(name, value)| (name, value)));
    let signals = signals::Signals::listen()?;
    signals.group(&mut command);
    match command.spawn() {
        Ok(child) => Ok(code(signals.wait(child).await?)),
        Err(error) => {
            let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
            out.fail(&Failure::local(format!("`{}` cannot be run: {error}", program.to_string_lossy())));
            Ok(ExitCode::from(code))
        }
    }
}

/// As a shell has it: what a signal ended counts from 128.
fn code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
    #[cfg(not(unix))]
    let signal = None;
    ExitCode::from(status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

#[cfg(unix)]
mod signals {
    //! Signals that are passed on to a command.

    use std::io::IsTerminal as _;

    use rustix::process::{Pid, Signal, kill_process, kill_process_group};
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    use super::{Child, Command, ExitStatus, Failure};

    /// What arrives for this process while a command runs.
    pub(super) struct Signals {
        streams: Vec<(Signal, Stream)>,
        /// Whether a terminal sends its signals to the command, too: it is in the same group then, and reads the terminal.
        is_at_terminal: bool,
    }

    impl Signals {
        pub(super) fn listen() -> Result<Self, Failure> {
            let failed = |error: std::io::Error| Failure::local(format!("signals cannot be received: {error}"));
            let all = [
                (Signal::TERM, SignalKind::terminate()),
                (Signal::INT, SignalKind::interrupt()),
                (Signal::QUIT, SignalKind::quit()),
                (Signal::HUP, SignalKind::hangup()),
                (Signal::USR1, SignalKind::user_defined1()),
                (Signal::USR2, SignalKind::user_defined2()),
            ];
            let streams = all.into_iter().map(|(own, kind)| signal(kind).map(|stream| (own, stream)));
            let streams = streams.collect::<Result<_, _>>().map_err(failed)?;
            // One whose input is a file may still ask for a password there.
            let is_at_terminal = std::io::stdin().is_terminal() || std::io::stderr().is_terminal();
            Ok(Self { streams, is_at_terminal })
        }

        /// Gives the command a group of its own, so that what it starts gets its signals, too.
        pub(super) fn group(&self, command: &mut Command) {
            if !self.is_at_terminal {
                command.process_group(0);
            }
        }

        /// Waits for the command, and passes on what arrives.
        pub(super) async fn wait(mut self, mut child: Child) -> Result<ExitStatus, Failure> {
            let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            loop {
                let arrived = std::future::poll_fn(|cx| {
                    let mut all = self.streams.iter_mut();
                    let ready = all.find_map(|(signal, stream)| stream.poll_recv(cx).is_ready().then_some(*signal));
                    ready.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
                });
                let signal = tokio::select! {
                    ended = child.wait() => {
                        return ended.map_err(|error| Failure::local(format!("the command cannot be waited for: {error}")));
                    }
                    signal = arrived => signal,
                };
                let Some(pid) = pid else { continue };
                // It may have ended just now.
                let _ = match (self.is_at_terminal, signal) {
                    (true, Signal::INT | Signal::QUIT) => Ok(()),
                    (true, _) => kill_process(pid, signal),
                    (false, _) => kill_process_group(pid, signal),
                };
            }
        }
    }
}

#[cfg(not(unix))]
mod signals {
    //! There are none to pass on.

    use super::{Child, Command, ExitStatus, Failure};

    pub(super) struct Signals;

    impl Signals {
        pub(super) fn listen() -> Result<Self, Failure> {
            Ok(Self)
        }

        pub(super) fn group(&self, _: &mut Command) {}

        pub(super) async fn wait(self, mut child: Child) -> Result<ExitStatus, Failure> {
            child.wait().await.map_err(|error| Failure::local(format!("the command cannot be waited for: {error}")))
        }
    }
}
