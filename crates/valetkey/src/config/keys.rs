//! Every setting there is: its key, its default as TOML, and what it means. Documentation, environment variables and
//! "did you mean" all come from this one table.

/// One setting.
pub(crate) struct Key {
    /// The section and the name.
    pub(crate) path: &'static str,
    /// The default, as TOML.
    pub(crate) default: &'static str,
    /// What it means, with its unit.
    pub(crate) about: &'static str,
}

const fn key(path: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { path, default, about }
}

/// Every setting there is.
pub(crate) const KEYS: &[Key] = &[
    key(
        "data_dir",
        r#""valetkey-data""#,
        "directory of the database, the keyring and the objects of the embedded storage",
    ),
    key("insecure_http", "false", "allow listening on an address other than loopback without TLS"),
    key("console", "true", "serve the console at `/console` of the API's address"),
    key(
        "trusted_proxies",
        "[]",
        "addresses of proxies, as in `10.0.0.0/8`, that say in `X-Forwarded-For` (read from the right) or by the PROXY protocol who asks; everyone else asks for itself",
    ),
    key("api.listen", r#""127.0.0.1:7070""#, "address and port of the API"),
    key("api.public_url", r#""""#, "URL the API is reached at; empty: made of the listen address"),
    key("api.tls_cert_file", r#""""#, "PEM file of the certificate chain; reloaded when it changes"),
    key("api.tls_key_file", r#""""#, "PEM file of the private key; reloaded when it changes"),
    key(
        "api.cors_origins",
        "[]",
        "origins, as in `https://app.example.com` (one `*` stands for anything), whose pages may ask for credentials from a browser",
    ),
    key("api.max_body_bytes", "65536", "largest request body of the API, in bytes"),
    key("api.body_timeout_secs", "10", "longest time an API request's body may take to arrive, in seconds"),
    key("api.max_connections", "4096", "most open connections of the API; further ones wait"),
    key(
        "api.max_connections_per_address",
        "1024",
        "most open connections of the API from one address (of IPv6, one /64); further ones are closed; trusted proxies have no limit",
    ),
    key(
        "api.proxy_protocol",
        "false",
        "every connection of the API begins with a header of the PROXY protocol, version 2, and comes from one of `trusted_proxies`",
    ),
    key("s3.listen", r#""127.0.0.1:7071""#, "address and port of the embedded S3 endpoint"),
    key(
        "s3.public_url",
        r#""""#,
        "URL the S3 endpoint is reached at, as handed to clients; empty: made of the listen address",
    ),
    key("s3.internal_url", r#""""#, "URL the S3 endpoint is reached at from inside a cluster; empty: the public one"),
    key("s3.tls_cert_file", r#""""#, "PEM file of the certificate chain; reloaded when it changes"),
    key("s3.tls_key_file", r#""""#, "PEM file of the private key; reloaded when it changes"),
    key("s3.domains", r#"["s3.localhost"]"#, "domains under which a bucket may be a host name (virtual-host style)"),
    key(
        "s3.r2_hosts",
        "[]",
        "more hosts that credentials signed with a parent access key may be for (their `aud`), and under which a bucket may be a host name; `{account}.` in front stands for an account's id in hexadecimal",
    ),
    key(
        "s3.cors_origins",
        "[]",
        "origins whose pages may use, from a browser, the buckets that have no CORS rules of their own",
    ),
    key("s3.region", r#""auto""#, "region shown to clients; the endpoint takes any"),
    key("s3.min_ttl_secs", "60", "shortest life of a credential, in seconds"),
    key("s3.max_ttl_secs", "604800", "longest life of a credential, in seconds"),
    key("s3.max_upload_age_secs", "604800", "abort incomplete multipart uploads older than this, in seconds; 0: never"),
    key(
        "s3.min_free_bytes",
        "-1",
        "room that is kept free on the disk, in bytes: below it nothing new is stored, and what is there can be read and deleted; -1: 1 GiB, or a twentieth of the disk if that is less; 0: none",
    ),
    key(
        "s3.max_account_bytes",
        "0",
        "most bytes that one account may keep at the embedded storage and in multipart uploads, unless it has a limit of its own; 0: any",
    ),
    key(
        "s3.max_account_objects",
        "0",
        "most objects that one account may keep at the embedded storage, unless it has a limit of its own; 0: any",
    ),
    key(
        "s3.max_account_uploads",
        "10000",
        "most multipart uploads that one account may have open, of those that are kept here; each costs up to 10 KB of the index",
    ),
    key("s3.max_connections", "4096", "most open connections of the S3 endpoint; further ones wait"),
    key(
        "s3.max_connections_per_address",
        "1024",
        "most open connections of the S3 endpoint from one address (of IPv6, one /64); further ones are closed; trusted proxies have no limit",
    ),
    key(
        "s3.proxy_protocol",
        "false",
        "every connection of the S3 endpoint begins with a header of the PROXY protocol, version 2, and comes from one of `trusted_proxies`",
    ),
    key(
        "s3.http2",
        "false",
        "serve HTTP/2 beside HTTP/1.1 at the S3 endpoint; over HTTP/2 a client that sends `Expect: 100-continue` waits before each body, often a second, since no `100 Continue` can be sent there",
    ),
    key(
        "s3.list_buckets",
        "true",
        "tell the holder of a credential, who asks for all buckets (`ListBuckets`), which one it opens anything in; parent access keys, and what is signed with them, are refused as by R2",
    ),
    key(
        "s3.embedded",
        "true",
        "serve the objects that this server keeps on its own disk; of several servers that share a database one may, the others have `false`",
    ),
    key(
        "s3.max_staleness_secs",
        "30",
        "longest time without hearing from Postgres, in seconds, after which the S3 endpoint refuses every request: a credential that another server ended meanwhile is taken for so long at most",
    ),
    key(
        "metrics.listen",
        r#""""#,
        "address and port for who watches: /metrics, and /livez and /readyz with places of their own; empty: on the API's address, /metrics with an operator's token",
    ),
    key(
        "log.level",
        r#""info""#,
        "what is logged: error, warn, info, debug, trace, or a filter such as `info,valetkey_s3=debug`",
    ),
    key("log.format", r#""auto""#, "json, pretty, or auto: pretty on a terminal"),
    key("log.object_keys", "true", "whether a refused S3 request's line names the object's key, beside the bucket"),
    key(
        "otel.endpoint",
        r#""""#,
        "URL of a collector that takes OTLP over HTTP, as in `http://127.0.0.1:4318`; empty: no traces and metrics are sent",
    ),
    key(
        "otel.headers",
        r#""""#,
        "headers of what is sent to the collector, as in `authorization=Bearer abc`, separated by commas; a secret",
    ),
    key("otel.sample_percent", "10", "percentage of traces that are sent; none that its client says is not sampled"),
    key("otel.metrics_interval_secs", "60", "time between two exports of all metrics, in seconds; 0: none are sent"),
    key(
        "audit.from",
        r#""now""#,
        "what a destination of events that is new gets first: `now`, what happens from then on, or `start`, the first event that is kept",
    ),
    key(
        "audit.file",
        r#""""#,
        "file that events are added to, a line of JSON each; of several servers that share a database one writes at a time; empty: none",
    ),
    key(
        "audit.file_max_bytes",
        "104857600",
        "size from which the file of events is put aside (`.1`, `.2` …), in bytes; 0: never",
    ),
    key("audit.file_keep", "10", "files of events that are kept beside the newest"),
    key("audit.stdout", "false", "write events to standard output, a line of JSON each"),
    key(
        "audit.requests",
        "[]",
        "buckets whose requests at the S3 endpoint are sent as events, too, or `*`; each server sends its own, and what a destination does not take in time is dropped",
    ),
    key(
        "audit.requests_file",
        r#""""#,
        "file that events of requests are added to, put aside like `audit.file`; empty: none",
    ),
    key(
        "audit.syslog",
        r#""""#,
        "where events go as syslog messages (RFC 5424): `unix:/dev/log`, `udp:HOST:PORT` or `tcp:HOST:PORT`; empty: nowhere",
    ),
    key(
        "audit.webhook_url",
        r#""""#,
        "URL that events are posted to, up to 1 MiB of lines of JSON at a time, again until it answers 2xx; empty: none",
    ),
    key(
        "audit.webhook_secret",
        r#""""#,
        "key that posts of events are signed with, as Standard Webhooks has it: `whsec_` and base64, of at least 24 bytes",
    ),
    key(
        "database.url",
        r#""""#,
        "URL of a Postgres database that several servers share, as in `postgres://valetkey@db.example.com/valetkey`; beyond this machine it is encrypted and the server's certificate verified (`sslrootcert` names another authority); empty: SQLite in the data directory",
    ),
    key("database.password", r#""""#, "password for `database.url`, where that has none"),
    key(
        "database.max_connections",
        "8",
        "most connections to Postgres that read, of each server; three more write and listen",
    ),
    key("database.node", r#""valetkey""#, "what this server is called among those that share the database"),
    key(
        "database.max_staleness_secs",
        "5",
        "longest time without hearing from Postgres, in seconds, after which nothing is vended",
    ),
    key(
        "ledger.mode",
        r#""durable""#,
        "durable: a credential leaves after its lease is on disk; relaxed: up to 100 ms before",
    ),
    key(
        "ledger.reserve_bytes",
        "8388608",
        "bytes of a file beside the database that is given up when the disk is full, so that what ends credentials is still put on record; 0: none",
    ),
    key(
        "ledger.archive_dir",
        r#""""#,
        "directory that pages of the ledger are written to, as compressed files by the day, before `retention.ledger_secs` removes them from the database; empty: they are removed for good",
    ),
    key("retention.refusals_secs", "7776000", "how long counts of refusals are kept, in seconds; 0: for ever"),
    key("retention.requests_secs", "34560000", "how long counts of requests are kept, in seconds; 0: for ever"),
    key(
        "retention.ledger_secs",
        "0",
        "how long leases are kept after every one of their page has ended, in seconds; 0: for ever; what credits were used for is shown as long",
    ),
    key(
        "retention.ended_secs",
        "7776000",
        "how long tokens (with their sessions and parent access keys) are kept after they ended, and grants after they were removed, in seconds; 0: for ever. What a lease on record may name stays as long as that lease",
    ),
    key("keys.file", r#""""#, "file of the keyring; empty: `keyring` in the data directory"),
    key(
        "keys.inline",
        r#""""#,
        "the keyring itself, instead of a file: lines of a number, a colon and 32 bytes in base64",
    ),
    key(
        "native.default_ttl_secs",
        "3600",
        "life of a credential of the native API when the caller does not say, in seconds",
    ),
    key("theirstack.default_ttl_secs", "604800", "life of a credential of the TheirStack API, in seconds"),
    key("theirstack.url_ttl_secs", "3600", "life of the URLs in the TheirStack API's list of datasets, in seconds"),
    key("dreadnode.default_ttl_secs", "3600", "life of a credential of the Dreadnode API, in seconds"),
    key("dreadnode.min_sdk_version", r#""""#, "oldest Dreadnode SDK that is served, as in `2.0.52`; empty: any"),
    key("dreadnode.max_blob_bytes", "16777216", "largest blob of a Dreadnode package, in bytes"),
    key(
        "sts.default_ttl_secs",
        "3600",
        "life of a credential of the STS API when the request does not say, in seconds",
    ),
    key(
        "sts.strict_durations",
        "false",
        "whether the STS API refuses a `DurationSeconds` that is longer than allowed, as AWS does, instead of cutting it",
    ),
    key("access_grants.region", r#""us-east-1""#, "region in the ARNs of S3 Access Grants"),
    key(
        "dialects.paths",
        "[]",
        "files that describe APIs of your own, or directories of them (every `.toml` in one); read when the server starts",
    ),
    key("sharing.prefix", r#""/delta-sharing""#, "path in front of Delta Sharing's routes"),
    key("sharing.url_ttl_secs", "3600", "life of the pre-signed URLs of a shared table's files, in seconds"),
    key("sharing.credential_ttl_secs", "3600", "life of credentials for a shared table's directory, in seconds"),
    key("sharing.max_files", "100000", "most files that one answer about a shared table may name"),
    key("sharing.max_versions", "10000", "most versions that one answer about a shared table may span"),
    key("sharing.log_timeout_secs", "30", "longest time that reading a shared table's log may take, in seconds"),
    key(
        "sharing.answer_timeout_secs",
        "120",
        "longest time that one answer about a shared table may take, its reader included, in seconds",
    ),
    key(
        "sharing.max_answer_bytes",
        "268435456",
        "about the most bytes of one answer about a shared table, and of memory for what its log says, in bytes",
    ),
    key(
        "sharing.max_answers",
        "6",
        "most answers about shared tables that are made at once; one account has at most half of them, others of it wait",
    ),
    key("unity.credential_ttl_secs", "3600", "life of credentials of the Unity Catalog API, in seconds"),
    key("iceberg.credential_ttl_secs", "3600", "life of credentials of the Iceberg REST catalog, in seconds"),
    key(
        "iceberg.upstreams",
        "[]",
        "files that describe catalogs of Iceberg tables which other servers keep, one each; read when the server starts",
    ),
    key(
        "upstream.max_credentials",
        "10000",
        "most credentials of external storages that are kept for the next request",
    ),
    key(
        "upstream.min_remaining_secs",
        "900",
        "least life that is left of a kept credential when it is vended, in seconds; half of what is allowed if that is less",
    ),
    key("upstream.deny_secs", "2", "how long a storage's failure is remembered before it is asked again, in seconds"),
    key(
        "upstream.token_dirs",
        r#"["/var/run/secrets"]"#,
        "directories of the files with other issuers' tokens that a storage's settings may name",
    ),
    key(
        "upstream.machine_identity_hosts",
        r#"["sts.amazonaws.com", "sts.*.amazonaws.com", "sts-fips.*.amazonaws.com", "sts.*.amazonaws.com.cn", "iam.amazonaws.com", "iam.us-gov.amazonaws.com", "iam.*.amazonaws.com.cn", "s3.amazonaws.com", "s3.*.amazonaws.com", "s3-fips.*.amazonaws.com", "s3.dualstack.*.amazonaws.com", "s3.*.amazonaws.com.cn", "*.s3.*.amazonaws.com", "*.s3.*.amazonaws.com.cn", "*.googleapis.com", "storage.*.rep.googleapis.com", "login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn", "login.partner.microsoftonline.cn", "management.azure.com", "management.usgovcloudapi.net", "management.chinacloudapi.cn", "*.blob.core.windows.net", "*.dfs.core.windows.net", "*.*.blob.storage.azure.net", "*.*.dfs.storage.azure.net", "*.blob.core.usgovcloudapi.net", "*.dfs.core.usgovcloudapi.net", "*.blob.core.chinacloudapi.cn"]"#,
        "hosts that the machine's own identity may be sent to and asked for at, of storages without secrets of their own; `*` is one label",
    ),
    key(
        "identity.private_hosts",
        "[]",
        "hosts of identity providers that may be machines of a private network, as their addresses name them: `keycloak.internal`, `127.0.0.1`",
    ),
    key(
        "issuer.url",
        r#""""#,
        "this server as an issuer of identity tokens, which storages' providers take instead of a kept secret: the address at which they reach this API, byte for byte, as in `https://valetkey.example.com`; empty: it is none",
    ),
    key(
        "issuer.rotate_days",
        "90",
        "after how many days another key signs identity tokens, at least 2; 0: only by `valetkey server rotate-signing-keys`",
    ),
    key(
        "gateway.local_roots",
        "[]",
        "directories below which a gateway may serve plain disks; never what is, holds or is in the data directory",
    ),
    key(
        "gateway.timeout_secs",
        "20",
        "how long a gateway's storage may be silent, and how long an answer to a client may take there, in seconds; what is sent adds a second for each 64 KiB",
    ),
    key(
        "limits.credentials",
        r#"["per-second:50/1", "per-minute:1000/60"]"#,
        "rate limits of asking for credentials, for each caller: name:requests/seconds; empty: none",
    ),
    key(
        "limits.requests",
        r#"["per-second:100/1", "per-minute:3000/60"]"#,
        "rate limits of all other requests, for each caller: name:requests/seconds; empty: none",
    ),
    key(
        "limits.account_factor",
        "10",
        "the callers of an account have together this many times what one of them may ask; 0: each has its own alone",
    ),
    key(
        "limits.strangers",
        r#"["per-second:20/1", "per-minute:300/60"]"#,
        "rate limits of requests without a valid token, for each address: name:requests/seconds; empty: none",
    ),
    key(
        "limits.holdings",
        "[]",
        "the most of a kind that its holder may have, where it is not the usual: what:most; of an account `callers:10000`, live `tokens:20000`, `parent-keys:10000`, `grants:2000000`, `workspaces:10000`, `shares:10000`, unused `profile-links:10000`, `blobs:1000000`, `blob-bytes:1099511627776`, `manifests:100000`, `tags:100000`; `projects:10000` of a workspace; `shared-tables:100000` and `recipients:10000` of a share; `datasets:100000` of the server",
    ),
    key(
        "limits.body_bytes",
        "134217728",
        "most bytes of request bodies that are held at once; an account is given more only while it holds no more than is free; as much again may come ahead on connections of HTTP/2 with large windows",
    ),
    key("shutdown.delay_secs", "0", "wait between failing /readyz and closing the listeners, in seconds"),
    key("shutdown.drain_secs", "20", "longest wait for open requests at the end, in seconds"),
];

/// What the other APIs' paths start with.
pub(crate) const OTHERS: &[&str] = &[
    "accounts",
    "api",
    "client",
    "console",
    "healthz",
    "iceberg",
    "livez",
    "metrics",
    "oauth",
    "openapi.json",
    "readyz",
    "schema",
    "sts",
    "user",
    "v0",
    "v1",
    "v20180820",
];
