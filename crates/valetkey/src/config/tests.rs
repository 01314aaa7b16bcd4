use super::*;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn refused(file: &str, environment: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("valetkey.toml");
    std::fs::write(&path, file).unwrap();
    let read = Layers::read(Some(&path), &env(environment), &[]).and_then(|layers| layers.config());
    read.unwrap_err().0.replace(path.to_str().unwrap(), "valetkey.toml")
}

#[test]
fn the_defaults_are_a_configuration() {
    let config = Layers::read(None, &env(&[]), &[]).unwrap().config().unwrap();
    assert!(config.api.listen.ip().is_loopback() && config.s3.listen.ip().is_loopback());
    assert_eq!(config.theirstack.default_ttl_secs, 604_800);
    assert_eq!(config.limits.credentials[0], Window { name: "per-second".into(), quota: 50, secs: 1 });
}

#[test]
fn flags_win_over_the_environment_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("valetkey.toml");
    std::fs::write(&path, "data_dir = \"file\"\n[api]\nlisten = \"127.0.0.1:1\"\nmax_body_bytes = 7\n").unwrap();
    let environment = env(&[("VALETKEY_API__LISTEN", "127.0.0.1:2"), ("VALETKEY_DATA_DIR", "environment")]);
    let layers = Layers::read(Some(&path), &environment, &[("data_dir", "flag".into())]).unwrap();
    let config = layers.config().unwrap();
    assert_eq!(config.data_dir, PathBuf::from("flag"));
    assert_eq!(config.api.listen.port(), 2);
    assert_eq!(config.api.max_body_bytes, 7);
}

#[test]
fn an_unknown_key_is_an_error_that_guesses() {
    assert_eq!(
        refused("[api]\nlisen = \"127.0.0.1:1\"", &[]),
        "`api.lisen` (valetkey.toml) is not a setting; did you mean `api.listen`?"
    );
    assert_eq!(
        refused("", &[("VALETKEY_API_LISTEN", "x")]),
        "`api_listen` (environment variable VALETKEY_API_LISTEN) is not a setting; did you mean `api.listen`?"
    );
}

#[test]
fn a_file_that_is_not_toml_is_named_with_its_line() {
    let said = refused("data_dir = \"x\"\n[api]\nlisten\n", &[]);
    assert!(said.starts_with("valetkey.toml, line 3: it is not TOML: ") && !said.contains('\n'), "{said}");
}

#[test]
fn a_wrong_value_names_its_key_and_origin() {
    assert_eq!(
        refused("[api]\nmax_body_bytes = \"many\"", &[]),
        "`api.max_body_bytes` (valetkey.toml) is a string; it takes a integer"
    );
    assert_eq!(
        refused("", &[("VALETKEY_API__MAX_BODY_BYTES", "many")]),
        "`api.max_body_bytes` (environment variable VALETKEY_API__MAX_BODY_BYTES) is `many`; it takes a integer"
    );
    assert!(refused("[api]\nlisten = \"nowhere\"", &[]).contains("api.listen"));
    assert!(refused("[api]\ncors_origins = [\"app.example\"]", &[]).contains("`api.cors_origins`: `app.example`"));
    assert!(refused("", &[("VALETKEY_S3__CORS_ORIGINS", "https://a.example/")]).contains("`s3.cors_origins`"));
    assert!(refused("[limits]\ncredentials = [\"often\"]", &[]).contains("name:requests/seconds"));
}

#[test]
fn an_issuer_is_written_in_the_one_way_that_tokens_say_it() {
    let refused_url = |url: &str| refused(&format!("[issuer]\nurl = \"{url}\""), &[]);
    for (url, why) in [
        ("https://Valetkey.example.com", "write it as https://valetkey.example.com,"),
        ("https://valetkey.example.com/", "write it as https://valetkey.example.com,"),
        ("https://valetkey.example.com:443", "write it as https://valetkey.example.com,"),
        ("https://valetkey.example.com.", "write it as https://valetkey.example.com,"),
        ("https://valetkey.example.com/id", "it has a path"),
        ("https://valetkey.example.com?x", "it has a query"),
        ("valetkey.example.com", "it starts with https://"),
        ("htps://valetkey.example.com", "it starts with https://"),
        ("http://valetkey.example.com", "over https:// alone"),
    ] {
        let said = refused_url(url);
        assert!(said.starts_with("`issuer.url`") && said.contains(why), "{url}: {said}");
    }
    assert!(!refused_url("https://user:s3cret@valetkey.example.com").contains("s3cret"));
    assert!(refused("[issuer]\nrotate_days = 1", &[]).contains("`issuer.rotate_days` is 1"));
    for url in ["", "https://valetkey.example.com", "https://valetkey.example.com:8443", "http://127.0.0.1:7070"] {
        let layers = Layers::read(None, &env(&[("VALETKEY_ISSUER__URL", url)]), &[]).unwrap();
        assert_eq!(layers.config().unwrap().issuer.url, url);
    }
}

#[test]
fn an_open_address_without_tls_is_refused() {
    assert!(refused("[api]\nlisten = \"0.0.0.0:7070\"", &[]).contains("without TLS"));
    assert!(refused("[s3]\nlisten = \"[::]:7071\"", &[]).contains("without TLS"));
    assert!(refused("[s3]\ntls_cert_file = \"a.pem\"", &[]).contains("go together"));
}

#[test]
fn every_address_of_the_machine_is_nothing_to_tell_clients() {
    for (section, listen) in [("api", "0.0.0.0:7070"), ("s3", "[::]:7071"), ("s3", "0.0.0.0:0")] {
        let file = |more: &str| format!("insecure_http = true\n[{section}]\nlisten = \"{listen}\"\n{more}");
        let said = refused(&file(""), &[]);
        assert!(said.contains(&format!("`{section}.public_url`")), "{said}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("valetkey.toml");
        std::fs::write(&path, file("public_url = \"https://valet.example\"")).unwrap();
        assert!(Layers::read(Some(&path), &env(&[]), &[]).unwrap().config().is_ok());
    }
}

#[test]
fn every_url_is_an_address_and_is_written_one_way() {
    for name in ["API__PUBLIC_URL", "S3__PUBLIC_URL", "S3__INTERNAL_URL"] {
        let variable = format!("VALETKEY_{name}");
        let setting = name.to_ascii_lowercase().replace("__", ".");
        for bad in [
            "https://h/path",
            "https://user:s3cret@h",
            "https://h?q",
            "https://h h",
            "ftp://h",
            "h.example",
            "https://",
        ] {
            let said = refused("", &[(&variable, bad)]);
            assert!(said.starts_with(&format!("`{setting}`: ")) && !said.contains("s3cret"), "{bad}: {said}");
        }
        let layers = Layers::read(None, &env(&[(&variable, "HTTPS://Valet.Example.:443/")]), &[]).unwrap();
        let config = layers.config().unwrap();
        let urls = [&config.api.public_url, &config.s3.public_url, &config.s3.internal_url];
        assert!(urls.iter().any(|url| *url == "https://valet.example"), "{urls:?}");
    }
}

#[test]
fn a_word_that_is_no_level_is_not_taken_for_a_modules_name() {
    for bad in ["verbose", "", "information", "info,valetkey_s3", "valetkey_s3=loud", "=debug", "info;debug"] {
        let said = refused("", &[("VALETKEY_LOG__LEVEL", bad)]);
        assert!(said.contains("`log.level`") && said.contains("error, warn, info"), "{bad}: {said}");
    }
    for good in ["info", "WARN", "off", "info,valetkey_s3=debug", "valetkey_database::ledger=trace, error"] {
        assert!(Layers::read(None, &env(&[("VALETKEY_LOG__LEVEL", good)]), &[]).unwrap().config().is_ok(), "{good}");
    }
}

#[test]
fn a_secret_comes_from_a_file_and_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    std::fs::write(&path, "1:c2VjcmV0\n").unwrap();
    let layers = Layers::read(None, &env(&[("VALETKEY_KEYS__INLINE_FILE", path.to_str().unwrap())]), &[]).unwrap();
    assert_eq!(layers.config().unwrap().keys.inline.reveal(), "1:c2VjcmV0");
    let shown = format!("{:?} {:?}", layers.rows(), layers.config().unwrap());
    assert!(!shown.contains("c2VjcmV0"), "{shown}");
}

#[test]
fn every_setting_is_in_the_documentation() {
    let page = include_str!("../../../../docs/config.md");
    for key in KEYS {
        assert!(
            page.contains(&format!("`{}`", key.path)) && page.contains(key.about),
            "docs/config.md lacks {}",
            key.path
        );
    }
}

#[cfg(feature = "otel")]
#[test]
fn a_collector_is_reached_unencrypted_only_on_this_machine_and_its_headers_are_never_shown() {
    let taken = |url: &str| {
        let environment = env(&[("VALETKEY_OTEL__ENDPOINT", url), ("VALETKEY_OTEL__HEADERS", "authorization=hunter2")]);
        let layers = Layers::read(None, &environment, &[]).unwrap();
        assert!(!format!("{:?}", layers.rows()).contains("hunter2"));
        let config = layers.config();
        assert!(!format!("{config:?}").contains("hunter2"));
        config.map(|config| config.otel.endpoint)
    };
    for url in
        ["http://127.0.0.1:4318", "http://localhost:4318", "http://[::1]:4318/otlp", "https://otlp.example.com/otlp"]
    {
        assert_eq!(taken(&format!("{url}/")).unwrap(), url);
    }
    for url in
        ["http://127.example.com", "http://localhost.example.com:4318", "http://10.0.0.1:4318", "otlp", "https://a@b"]
    {
        assert!(taken(url).unwrap_err().0.starts_with("`otel.endpoint`"), "{url}");
    }
    assert_eq!(refused("[otel]\nsample_percent = 101", &[]), "`otel.sample_percent` is 101; it is at most 100");
}
