//! `valetkey agent`: one process of a user's that holds the login and answers every form in which SDKs renew credentials by themselves.
//!
//! `valetkey exec` runs one of its own, for one command.

mod forms;
mod guard;
pub(crate) mod home;
pub(crate) mod login;
pub(crate) mod serve;
pub(crate) mod slot;
pub(crate) mod slots;
pub(crate) mod variables;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use valetkey_core::Secret;

use crate::cli::creds::ask::{Ask, Wanted};
use crate::cli::creds::formats::{Format, assignments};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Out;
use home::{Home, Note, Place};
use login::Login;
use serve::{Door, Served};
use slot::Slot;
use slots::Slots;
use variables::Variables;

const EXAMPLES: &str = "\
Examples:
  valetkey agent &                                     # in your session, as a service, …
  eval \"$(valetkey agent env flights-daily)\"           # tools of this shell renew by themselves
  credential_process = /usr/bin/valetkey agent process flights-daily
  valetkey agent flights-daily --listen 169.254.170.2:80   # where containers look for it

The agent asks with the token of its own --token-file, VALETKEY_TOKEN or VALETKEY_TOKEN_FILE; its clients need none.";

/// The addresses at which SDKs look for credentials without a setting, beside loopback.
const WELL_KNOWN: [&str; 4] = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
/// The longest that a question to a running agent may take.
const ASKING: Duration = Duration::from_secs(30);
/// More than any answer of an agent.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Hold the login and serve credentials to SDKs, renewed, in every form they ask for
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    start: Start,
}

#[derive(Debug, clap::Args)]
struct Start {
    /// What clients get that cannot say what they want: those of metadata services
    #[command(flatten)]
    wanted: Wanted,
    /// Where to listen: loopback, or an address at which SDKs look. May be repeated; unless given, the same port of 127.0.0.1 as last time
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the variables with which tools of a shell ask the running agent
    Env(Env),
    /// Print a credential of the running agent, for `credential_process`
    Process(Target),
    /// Show what the running agent serves
    Status {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, clap::Args)]
struct Target {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Env {
    #[command(flatten)]
    target: Target,
    /// For which shell: `env`, `fish`, `powershell` or `dotenv`
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "env", hide_possible_values = true)]
    format: Format,
}

impl Args {
    /// Whether this needs a login.
    pub(crate) fn starts(&self) -> bool {
        self.command.is_none()
    }
}

/// Asks the running agent.
pub(crate) async fn ask(args: Args, out: &Out) -> Result<(), Failure> {
    match args.command {
        Some(Command::Env(Env { target: Target { wanted, place }, format })) => {
            let variables = environment(&place, &wanted.ask(out)?).await?;
            let Variables { set, unset, warning } = &variables;
            let set: Vec<(&str, String)> = set.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            let unset: Vec<&str> = unset.iter().map(String::as_str).collect();
            let text = assignments(format, &unset, &set)
                .ok_or_else(|| Failure::usage("--format takes env, fish, powershell or dotenv here"))?;
            if let Some(warning) = warning {
                out.warn(warning);
            }
            out.data(&text)
        }
        Some(Command::Process(Target { wanted, place })) => {
            let answer = of_running(&place, "process", &wanted.ask(out)?).await?;
            out.data(&serde_json::to_string_pretty(&answer).unwrap_or_default())
        }
        Some(Command::Status { place }) => out.json(&status(&place).await?),
        None => Ok(()),
    }
}

/// What the running agent serves.
pub(crate) async fn status(place: &Place) -> Result<serde_json::Value, Failure> {
    of_running(place, "status", &Ask::default()).await
}

/// The variables with which tools ask the running agent.
pub(crate) async fn environment(place: &Place, ask: &Ask) -> Result<Variables, Failure> {
    let answer = of_running(place, "env", ask).await?;
    serde_json::from_value(answer).map_err(|_| Failure::local("the agent's answer is not understood"))
}

#[cfg(unix)]
async fn of_running(place: &Place, what: &str, ask: &Ask) -> Result<serde_json::Value, Failure> {
    let socket = place.home()?.socket();
    let none = |why: &str| {
        Failure::new(Exit::Unreachable, format!("no agent answers at `{}`{why}", socket.display()))
            .hint("`valetkey agent` starts one")
    };
    let client = reqwest::Client::builder().unix_socket(socket.as_path()).timeout(ASKING).no_proxy().tls_certs_only([]);
    let client = client.build().map_err(|error| Failure::local(error.to_string()))?;
    let request = client.get(format!("http://localhost/{what}?{}", ask.query()));
    let mut response = request.send().await.map_err(|error| none(if error.is_timeout() { " in time" } else { "" }))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| none(": it broke off"))? {
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::local("the agent's answer is too large"));
        }
        bytes.extend_from_slice(&chunk);
    }
    let answer: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|_| Failure::local("the agent's answer is not understood"))?;
    if response.status().is_success() {
        return Ok(answer);
    }
    let message = answer.get("message").and_then(serde_json::Value::as_str).unwrap_or("the agent refused");
    Err(Failure::new(Exit::of_status(response.status().as_u16()), message))
}

#[cfg(not(unix))]
async fn of_running(_: &Place, _: &str, _: &Ask) -> Result<serde_json::Value, Failure> {
    std::future::ready(Err(Failure::usage("agents have a socket on Unix only"))).await
}

/// Runs `valetkey agent` until it is stopped.
pub(crate) async fn run(args: Args, login: &Login<'_>, out: &Out) -> Result<(), Failure> {
    let Start { wanted, listen, place } = args.start;
    let asked = wanted.ask(out)?;
    let default = (asked != Ask::default()).then_some(asked);
    let home = place.home()?;
    let _lock = home.lock()?;
    let mut doors = Vec::new();
    for address in ports(&listen, home.note().port)? {
        doors.push(match (serve::open(address, default.clone()).await, listen.is_empty()) {
            (Ok(door), _) => door,
            // Another program has the port of last time.
            (Err(_), true) => serve::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), default.clone())
                .await
                .map_err(|error| serve::taken(address, &error))?,
            (Err(error), false) => return Err(serve::taken(address, &error)),
        });
    }
    let main = doors.iter().find_map(Door::address).ok_or_else(|| Failure::usage("--listen names nothing"))?;
    doors.extend(socket(&home, default.clone())?);
    home.say(&Note { pid: std::process::id(), port: main.port() })?;
    let own = home.secret()?;
    let (socket, agent) = (home.socket(), Agent::new(home, &own, main, default));
    out.note(&format!(
        "serving on http://{main} and {}; `valetkey agent env GRANT` prints how to ask",
        socket.display()
    ));
    let Agent { served, opening, adding } = agent;
    let stop = stopped()?;
    work(&served, (opening, adding), doors, login, out, stop).await;
    let _ = std::fs::remove_file(socket);
    Ok(())
}

/// What to listen on.
fn ports(listen: &[SocketAddr], last: u16) -> Result<Vec<SocketAddr>, Failure> {
    let is_well_known = |ip: IpAddr| WELL_KNOWN.iter().any(|known| known.parse() == Ok(ip));
    if let Some(odd) = listen.iter().find(|at| !at.ip().is_loopback() && !is_well_known(at.ip())) {
        return Err(Failure::usage(format!("`{odd}` can be reached from other machines"))
            .hint(format!("--listen takes loopback, and {}", WELL_KNOWN.join(", "))));
    }
    Ok(if listen.is_empty() { vec![SocketAddr::from((Ipv4Addr::LOCALHOST, last))] } else { listen.to_vec() })
}

#[cfg(unix)]
fn socket(home: &Home, default: Option<Ask>) -> Result<Option<Door>, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = home.socket();
    let failed = |error: std::io::Error| Failure::local(format!("`{}` cannot be made: {error}", path.display()));
    // One that a killed agent left; the lock is held, so nobody serves it now.
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(Some(Door::Socket { listener, default }))
}

#[cfg(not(unix))]
fn socket(_: &Home, _: Option<Ask>) -> Result<Option<Door>, Failure> {
    Ok(None)
}

/// What an agent serves, and what comes of that: more doors, more asks.
pub(crate) struct Agent {
    pub(crate) served: Served,
    pub(crate) opening: UnboundedReceiver<Door>,
    pub(crate) adding: UnboundedReceiver<Rc<Slot>>,
}

impl Agent {
    /// Serves nothing yet.
    pub(crate) fn new(home: Home, own: &Secret<Vec<u8>>, main: SocketAddr, default: Option<Ask>) -> Self {
        let (doors, opening) = unbounded_channel();
        let (added, adding) = unbounded_channel();
        let slots = Slots::new(own, added);
        let served = Served { slots, home, main, default, opened: RefCell::default(), doors };
        Self { served, opening, adding }
    }
}

/// Serves until it is to stop.
pub(crate) async fn work<T>(
    served: &Served,
    (mut opening, mut adding): (UnboundedReceiver<Door>, UnboundedReceiver<Rc<Slot>>),
    doors: Vec<Door>,
    login: &Login<'_>,
    out: &Out,
    until: impl Future<Output = T>,
) -> T {
    let mut going: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
    for door in doors {
        going.push(Box::pin(serve::stand(door, served)));
    }
    let mut until = pin!(until);
    loop {
        tokio::select! {
            ended = &mut until => return ended,
            Some(door) = opening.recv() => going.push(Box::pin(serve::stand(door, served))),
            Some(slot) = adding.recv() => going.push(Box::pin(async move { slot::keep(&slot, login, out).await })),
            Some(()) = going.next() => {}
        }
    }
}

/// Until the process is to end.
#[cfg(unix)]
fn stopped() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Failure::local(format!("signals cannot be received: {error}"));
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(failed)?;
    Ok(async move {
        tokio::select! { _ = terminated.recv() => {}, _ = interrupted.recv() => {}, _ = hung_up.recv() => {} }
    })
}

#[cfg(not(unix))]
fn stopped() -> Result<impl Future<Output = ()>, Failure> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
