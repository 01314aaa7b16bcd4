//! What settings must be together, whichever file, variable or option each came from.

use valetkey_core::address::{self, PathRule};
use valetkey_core::cors::Rules;
use valetkey_core::name::BucketName;
use valetkey_database::Whereabouts;
use valetkey_dialects::dreadnode;

use crate::config::{Audit, Config, OTHERS, Unusable};
use crate::node::audit;

/// The longest life of a credential there is, in seconds: a year.
const LONGEST_TTL_SECS: i64 = 366 * 24 * 3600;

/// Whether an address without its scheme is this machine's own.
fn is_here(address: &str) -> bool {
    let authority = address.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        Some(_) | None => authority,
    };
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

impl Config {
    /// Refuses settings that cannot be meant.
    pub(super) fn check(mut self) -> Result<Self, Unusable> {
        self.settle_addresses()?;
        self.check_log()?;
        self.check_lifetimes()?;
        self.check_limits()?;
        self.check_names()?;
        self.check_listeners()?;
        self.check_otel()?;
        self.check_audit()?;
        self.check_issuer()?;
        self.check_database()?;
        for (name, origins) in [("api", &self.api.cors_origins), ("s3", &self.s3.cors_origins)] {
            Rules::of_origins(origins, &[]).map_err(|error| Unusable(format!("`{name}.cors_origins`: {error}")))?;
        }
        Ok(self)
    }

    /// Reads every URL there is a setting for, and writes it the one way that it is compared and shown.
    fn settle_addresses(&mut self) -> Result<(), Unusable> {
        for (name, url) in [
            ("api.public_url", &mut self.api.public_url),
            ("s3.public_url", &mut self.s3.public_url),
            ("s3.internal_url", &mut self.s3.internal_url),
        ] {
            if !url.is_empty() {
                let settled = address::parse(url, PathRule::None);
                *url = settled.map_err(|said| Unusable(format!("`{name}`: {said}")))?.into();
            }
        }
        Ok(())
    }

    /// SECURITY: who asks for what stands in spans; they go unencrypted only to this machine, or where that was said.
    fn check_otel(&mut self) -> Result<(), Unusable> {
        if self.otel.sample_percent > 100 {
            let percent = self.otel.sample_percent;
            return Err(Unusable(format!("`otel.sample_percent` is {percent}; it is at most 100")));
        }
        if self.otel.endpoint.is_empty() {
            return Ok(());
        }
        if !cfg!(feature = "otel") {
            return Err(Unusable(
                "`otel.endpoint` is set, and this build has no OpenTelemetry (`--features otel`)".to_owned(),
            ));
        }
        let settled = address::parse(&self.otel.endpoint, PathRule::Allowed);
        self.otel.endpoint = settled.map_err(|said| Unusable(format!("`otel.endpoint`: {said}")))?.into();
        let url = &self.otel.endpoint;
        let in_clear = url.strip_prefix("http://").is_some_and(|rest| !is_here(rest));
        if in_clear && !self.insecure_http {
            return Err(Unusable(format!(
                "`otel.endpoint` is {url}, which others can read on the way; use https://, or set `insecure_http`"
            )));
        }
        Ok(())
    }

    /// SECURITY: events say who reaches what. They go unencrypted only to this machine, or where that was said.
    fn check_audit(&mut self) -> Result<(), Unusable> {
        audit::Syslog::parse(&self.audit.syslog).map_err(|said| Unusable(format!("`audit.syslog` {said}")))?;
        let in_clear = |address: &str| !is_here(address) && !self.insecure_http;
        let host = ["udp:", "tcp:"].iter().find_map(|scheme| self.audit.syslog.strip_prefix(scheme));
        if host.is_some_and(in_clear) {
            return Err(Unusable(
                "`audit.syslog` goes over a network where others can read it; use a relay on this machine, or set `insecure_http`"
                    .to_owned(),
            ));
        }
        let Audit { requests, requests_file, file, stdout, syslog, webhook_url, .. } = &self.audit;
        let odd = requests.iter().find(|name| *name != "*" && BucketName::parse(name).is_err());
        if let Some(odd) = odd {
            return Err(Unusable(format!("`audit.requests` has `{odd}`, which is neither a bucket's name nor `*`")));
        }
        let nowhere = requests_file.as_os_str().is_empty() && !stdout && syslog.is_empty() && webhook_url.is_empty();
        if !requests.is_empty() && nowhere {
            let said = "`audit.requests` goes nowhere: set `audit.requests_file`, or another destination of events";
            return Err(Unusable(said.to_owned()));
        }
        if !requests_file.as_os_str().is_empty() && requests_file == file {
            return Err(Unusable("`audit.requests_file` is `audit.file`: each has a file of its own".to_owned()));
        }
        if self.audit.webhook_url.is_empty() {
            return Ok(());
        }
        let settled = address::parse(&self.audit.webhook_url, PathRule::Allowed);
        let url: String = settled.map_err(|said| Unusable(format!("`audit.webhook_url`: {said}")))?.into();
        if url.strip_prefix("http://").is_some_and(in_clear) {
            return Err(Unusable(format!(
                "`audit.webhook_url` is {url}, which others can read on the way; use https://, or set `insecure_http`"
            )));
        }
        self.audit.webhook_url = url;
        audit::webhook_key(&self.audit.webhook_secret)
            .map(drop)
            .map_err(|said| Unusable(format!("`audit.webhook_secret` {said}")))
    }

    /// The issuer is compared byte for byte, by clouds that keep it as it was typed there: there is one way to write it.
    fn check_issuer(&self) -> Result<(), Unusable> {
        let days = self.issuer.rotate_days;
        if days == 1 || days > 3650 {
            let said = "a key is published for a day before it signs";
            return Err(Unusable(format!("`issuer.rotate_days` is {days}; it is 0, or 2 to 3650: {said}")));
        }
        let url = &self.issuer.url;
        if url.is_empty() {
            return Ok(());
        }
        let settled = address::parse(url, PathRule::None).map_err(|said| Unusable(format!("`issuer.url`: {said}")))?;
        if *settled != **url {
            return Err(Unusable(format!("`issuer.url` is {url}; write it as {settled}, which is what tokens say")));
        }
        if url.strip_prefix("http://").is_some_and(|rest| !is_here(rest)) {
            return Err(Unusable(format!("`issuer.url` is {url}; clouds read an issuer's keys over https:// alone")));
        }
        Ok(())
    }

    /// A word that is no level would be taken for a module's name, and nothing would be logged.
    fn check_log(&self) -> Result<(), Unusable> {
        const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
        let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
        let level = &self.log.level;
        let odd = level.split(',').map(str::trim).find(|part| match part.rsplit_once('=') {
            Some((module, word)) => module.is_empty() || !is_level(word),
            None => !is_level(part),
        });
        match odd {
            None => Ok(()),
            Some(part) => Err(Unusable(format!(
                "`log.level` is `{}`, and `{}` is not a level; those are {}, for all or for a module (`info,valetkey_s3=debug`)",
                valetkey_core::name::shortened(level),
                valetkey_core::name::shortened(part),
                LEVELS.join(", ")
            ))),
        }
    }

    fn check_lifetimes(&self) -> Result<(), Unusable> {
        if self.s3.min_ttl_secs == 0 || self.s3.min_ttl_secs > self.s3.max_ttl_secs {
            return Err(Unusable("`s3.min_ttl_secs` must be at least 1 and at most `s3.max_ttl_secs`".to_owned()));
        }
        for (name, secs) in [
            ("native.default_ttl_secs", self.native.default_ttl_secs),
            ("theirstack.default_ttl_secs", self.theirstack.default_ttl_secs),
            ("theirstack.url_ttl_secs", self.theirstack.url_ttl_secs),
            ("dreadnode.default_ttl_secs", self.dreadnode.default_ttl_secs),
            ("sts.default_ttl_secs", self.sts.default_ttl_secs),
            ("sharing.credential_ttl_secs", self.sharing.credential_ttl_secs),
            ("sharing.url_ttl_secs", self.sharing.url_ttl_secs),
            ("unity.credential_ttl_secs", self.unity.credential_ttl_secs),
            ("iceberg.credential_ttl_secs", self.iceberg.credential_ttl_secs),
        ] {
            if secs < self.s3.min_ttl_secs || i64::from(secs) > LONGEST_TTL_SECS {
                return Err(Unusable(format!(
                    "`{name}` is {secs}; it is at least `s3.min_ttl_secs` ({}) and at most {LONGEST_TTL_SECS}",
                    self.s3.min_ttl_secs
                )));
            }
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), Unusable> {
        for (name, most, of_one, proxied) in [
            ("api", self.api.max_connections, self.api.max_connections_per_address, self.api.proxy_protocol),
            ("s3", self.s3.max_connections, self.s3.max_connections_per_address, self.s3.proxy_protocol),
        ] {
            if most == 0 || of_one == 0 {
                return Err(Unusable(format!(
                    "`{name}.max_connections` and `{name}.max_connections_per_address` are at least 1"
                )));
            }
            if proxied && self.trusted_proxies.is_empty() {
                return Err(Unusable(format!(
                    "`{name}.proxy_protocol` takes the word of a proxy; say which ones in `trusted_proxies`"
                )));
            }
        }
        let largest = self.api.max_body_bytes.max(self.dreadnode.max_blob_bytes).max(8 * 1024 * 1024);
        if self.limits.body_bytes / 2 < largest {
            return Err(Unusable(format!(
                "`limits.body_bytes` is {}; it is at least twice the largest body that is taken ({largest})",
                self.limits.body_bytes
            )));
        }
        if self.sharing.max_answers < 2 || self.sharing.answer_timeout_secs == 0 || self.sharing.max_answer_bytes == 0 {
            return Err(Unusable(
                "`sharing.max_answers` is at least 2, `sharing.answer_timeout_secs` and `sharing.max_answer_bytes` at least 1"
                    .to_owned(),
            ));
        }
        if self.s3.min_free_bytes < -1 {
            let said = "it is -1, or a number of bytes";
            return Err(Unusable(format!("`s3.min_free_bytes` is {}; {said}", self.s3.min_free_bytes)));
        }
        let timeout = self.gateway.timeout_secs;
        if !(1..=600).contains(&timeout) {
            return Err(Unusable(format!("`gateway.timeout_secs` is {timeout}; it is at least 1 and at most 600")));
        }
        Ok(())
    }

    /// Several servers are reached at the same URLs: what one hands out has to be good at all of them.
    fn check_database(&self) -> Result<(), Unusable> {
        if let Whereabouts::File(_) = self.database()? {
            return Ok(());
        }
        for (key, set) in [("api.public_url", &self.api.public_url), ("s3.public_url", &self.s3.public_url)] {
            if set.is_empty() {
                return Err(Unusable(format!(
                    "`{key}` is not set: with `database.url` it is the URL at which clients reach every server, as of a load balancer"
                )));
            }
        }
        for (key, secs) in [
            ("database.max_staleness_secs", self.database.max_staleness_secs),
            ("s3.max_staleness_secs", self.s3.max_staleness_secs),
        ] {
            // Each second the database is asked: less would refuse while all is well. More than an hour is for ever.
            if !(3..=3600).contains(&secs) {
                return Err(Unusable(format!("`{key}` is {secs}; allowed are 3 to 3600 seconds")));
            }
        }
        if !(1..=100).contains(&self.database.max_connections) {
            return Err(Unusable(format!(
                "`database.max_connections` is {}; allowed are 1 to 100",
                self.database.max_connections
            )));
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), Unusable> {
        let bad_host = |host: &&String| {
            let rest = host.strip_prefix("{account}.").unwrap_or(host);
            rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
        };
        if let Some(host) = self.s3.r2_hosts.iter().find(bad_host) {
            return Err(Unusable(format!(
                "`s3.r2_hosts` has `{}`; one is a host without a scheme, and may start with `{{account}}.`",
                valetkey_core::name::shortened(host)
            )));
        }
        let version = &self.dreadnode.min_sdk_version;
        if !version.is_empty() && dreadnode::Version::parse(version).is_err() {
            return Err(Unusable(format!(
                "`dreadnode.min_sdk_version` is `{}`, which is not a version (`2.0.52`)",
                valetkey_core::name::shortened(version)
            )));
        }
        let prefix = &self.sharing.prefix;
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        };
        if !prefix.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain)) {
            return Err(Unusable(format!(
                "`sharing.prefix` is `{}`; it starts with a slash, does not end with one, and has letters, digits and `-._~`",
                valetkey_core::name::shortened(prefix)
            )));
        }
        let first = prefix.split('/').nth(1).unwrap_or_default();
        if OTHERS.contains(&first) {
            return Err(Unusable(format!("`sharing.prefix` starts with `/{first}`, where another API is")));
        }
        Ok(())
    }

    fn check_listeners(&self) -> Result<(), Unusable> {
        for (name, listen, cert, key, public_url) in [
            ("api", self.api.listen, &self.api.tls_cert_file, &self.api.tls_key_file, &self.api.public_url),
            ("s3", self.s3.listen, &self.s3.tls_cert_file, &self.s3.tls_key_file, &self.s3.public_url),
        ] {
            let (cert, key) = (!cert.as_os_str().is_empty(), !key.as_os_str().is_empty());
            if cert != key {
                return Err(Unusable(format!(
                    "`{name}.tls_cert_file` and `{name}.tls_key_file` go together; one is missing"
                )));
            }
            if !listen.ip().is_loopback() && !cert && !self.insecure_http {
                return Err(Unusable(format!(
                    "`{name}.listen` is {listen}, which others can reach, without TLS; set `{name}.tls_cert_file` and `{name}.tls_key_file`, or `insecure_http` if something in front does TLS"
                )));
            }
            if listen.ip().is_unspecified() && public_url.is_empty() {
                return Err(Unusable(format!(
                    "`{name}.listen` is {listen}, every address of this machine, which clients cannot use; say in `{name}.public_url` how they reach it, as in `https://{name}.example.com`"
                )));
            }
        }
        Ok(())
    }
}
