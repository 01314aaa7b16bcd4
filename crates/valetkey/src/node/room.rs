//! How much of the machine there is for whom: connections, threads and places, as configured.

use std::net::SocketAddr;
use std::time::Duration;

use valetkey_dialects::edge::{HeavyLimits, RateLimits, Window};

use crate::config::Config;
use crate::node::listen::{self, Http2Room, Proxies};
use crate::node::system;
use crate::node::tls::Tls;

/// HTTP/2 without large windows.
const PLAIN: Http2Room = Http2Room { streams: 32, window_bytes: 0 };
/// Of the S3 endpoint, whose clients ask much at once.
const S3_STREAMS: u32 = 128;

/// The most connections of who watches the server.
const WATCHERS: usize = 64;

/// What the API's listener and that of the S3 endpoint are like.
pub(super) fn listeners(config: &Config, [api_tls, s3_tls]: [Option<Tls>; 2]) -> [listen::Settings; 2] {
    let (api, s3) = (&config.api, &config.s3);
    let proxies = Proxies::new(&config.trusted_proxies);
    let wanted = [api.max_connections, s3.max_connections];
    let [api_connections, s3_connections] = system::connections(wanted, WATCHERS);
    [
        listen::Settings {
            name: "api",
            address: api.listen,
            tls: api_tls,
            connections: api_connections,
            of_one: api.max_connections_per_address,
            proxies: proxies.clone(),
            proxy_protocol: api.proxy_protocol,
            http_2: Some(PLAIN),
        },
        listen::Settings {
            name: "s3",
            address: s3.listen,
            tls: s3_tls,
            connections: s3_connections,
            of_one: s3.max_connections_per_address,
            proxies,
            proxy_protocol: s3.proxy_protocol,
            http_2: s3.http2.then_some(Http2Room { streams: S3_STREAMS, window_bytes: config.limits.body_bytes }),
        },
    ]
}

/// What the listener is like that those ask who watch the server: with places that nobody else can take.
pub(super) fn watchers(address: SocketAddr) -> listen::Settings {
    listen::Settings {
        name: "metrics",
        address,
        tls: None,
        connections: WATCHERS,
        of_one: WATCHERS / 2,
        proxies: Proxies::none(),
        proxy_protocol: false,
        http_2: Some(PLAIN),
    }
}

/// Half of the cores work on heavy answers, and one account has at most half of the places for them.
pub(super) fn heavy_limits(config: &Config) -> HeavyLimits {
    let at_once = config.sharing.max_answers.max(2);
    HeavyLimits {
        at_once,
        of_one: at_once / 2,
        threads: std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)),
        time: Duration::from_secs(u64::from(config.sharing.answer_timeout_secs)),
        bytes: config.sharing.max_answer_bytes as u64,
        ..HeavyLimits::default()
    }
}

/// How often callers and strangers may ask.
pub(super) fn rate_limits(config: &Config) -> Result<RateLimits, valetkey_core::Error> {
    let windows = |windows: &[crate::config::Window]| {
        windows.iter().map(|window| Window::new(&window.name, window.quota, window.secs)).collect::<Result<Vec<_>, _>>()
    };
    let of_account = |own: &[crate::config::Window]| -> Vec<crate::config::Window> {
        let times = config.limits.account_factor;
        let larger = |window: &crate::config::Window| crate::config::Window {
            quota: window.quota.saturating_mul(times),
            ..window.clone()
        };
        if times == 0 { Vec::new() } else { own.iter().map(larger).collect() }
    };
    Ok(RateLimits {
        common: windows(&config.limits.requests)?,
        credentials: windows(&config.limits.credentials)?,
        accounts: windows(&of_account(&config.limits.requests))?,
        account_credentials: windows(&of_account(&config.limits.credentials))?,
        strangers: windows(&config.limits.strangers)?,
    })
}
