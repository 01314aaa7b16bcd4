//! Files that are refused, each with what is wrong in them.

use super::{DREADNODE, PARCELS, THEIRSTACK};
use crate::custom::{self, Spec};
use crate::tests::world::World;

pub(super) const SMALL: &str = r#"
name = "small"
base = "/small"
refusals.default = "usual"

[[route]]
method = "POST"
path = "/{team}/keys"
bucket = "lake"
prefix = "teams/{team}"
answer = '{"key": {{ access_key_id }}, "secret": {{ secret_access_key }}, "token": {{ session_token }}}'
"#;

fn refused(file: &str) -> String {
    Spec::read(file).map(|spec| spec.name()).expect_err(file)
}

#[test]
fn a_small_file_is_taken_and_says_what_it_is() {
    for file in [SMALL, THEIRSTACK, DREADNODE, PARCELS] {
        let spec = Spec::read(file).unwrap();
        assert!(spec.shown().iter().all(|shown| shown.route.contains(spec.base())));
    }
    let [shown] = &Spec::read(SMALL).unwrap().shown()[..] else { panic!("one route") };
    assert_eq!((&*shown.route, &*shown.opens), ("POST /small/{team}/keys", "s3://lake/teams/{team}/"));
    assert_eq!((shown.access, shown.ttl_secs, &*shown.token), ("read", 3600, "bearer"));
}

#[test]
fn what_cannot_be_meant_is_refused_in_words() {
    for (from, to, said) in [
        ("base = \"/small\"", "base = \"/\"", "`base` is `/`"),
        ("base = \"/small\"", "base = \"/a/../b\"", "`base` is `/a/../b`"),
        ("base = \"/small\"", "base = \"/small/\"", "does not end with one"),
        ("name = \"small\"", "name = \"a b\"", "`name`"),
        ("name = \"small\"", "name = \"small\"\nwho = 1", "unknown field `who`"),
        ("name = \"small\"", "name = \"small\"\ntoken = [\"query:key\"]", "not in a URL"),
        ("name = \"small\"", "name = \"small\"\ntoken = []", "`token` is empty"),
        ("name = \"small\"", "name = \"small\"\ntoken = [\"header:Cookie\"]", "is not a header for a token"),
        ("refusals.default = \"usual\"", "", "`refusals` has no row for `malformed`, `invalid`, `token_missing`"),
        ("refusals.default = \"usual\"", "refusals.default = \"forbidden\"", "`refusals.default` is `forbidden`"),
        (
            "default = \"usual\"",
            "default = \"usual\"\nrefusals.kinds.no = {}",
            "`refusals.kinds.no` is no kind of refusal",
        ),
        (
            "default = \"usual\"",
            "default = \"usual\"\nrefusals.kinds.internal.status = 200",
            "a refusal's is 400 to 599",
        ),
        (
            "default = \"usual\"",
            "default = \"usual\"\nrefusals.body = '{\"a\": \"{{ said }}\"}'",
            "does not write JSON",
        ),
        ("default = \"usual\"", "default = \"usual\"\nrefusals.body = '{{ secret_access_key }}'", "undefined value"),
        ("method = \"POST\"", "method = \"PUT\"", "`method` is `GET` or `POST`"),
        ("path = \"/{team}/keys\"", "path = \"/{team}/{team}\"", "`{team}` twice"),
        ("path = \"/{team}/keys\"", "path = \"/a{team}/keys\"", "as a whole segment"),
        ("path = \"/{team}/keys\"", "path = \"/{caller}/keys\"", "is also another name"),
        ("path = \"/{team}/keys\"", "path = \"/../keys\"", "`path` has letters"),
        ("prefix = \"teams/{team}\"", "prefix = \"teams/{other}\"", "one can name `{team}`"),
        ("prefix = \"teams/{team}\"", "prefix = \"teams/../{team}\"", "`prefix` is a directory"),
        ("prefix = \"teams/{team}\"", "", "say `prefix`, or `whole_bucket = true`"),
        ("prefix = \"teams/{team}\"", "prefix = \"\"", "`prefix` is a directory"),
        ("bucket = \"lake\"", "bucket = \"lake\"\ngrant = \"x\"", "say one of"),
        ("bucket = \"lake\"", "bucket = \"No\"", "`bucket`"),
        ("bucket = \"lake\"", "bucket = \"lake\"\nttl_secs = 0", "`ttl_secs`"),
        ("bucket = \"lake\"", "bucket = \"lake\"\ncarries = []", "`carries` is empty"),
        ("bucket = \"lake\"", "bucket = \"lake\"\ncarries = [\"azure\"]\nfields.a.name = \"\"", "1 to 64 characters"),
        ("{{ session_token }}", "\"{{ session_token }}\"", "does not write JSON"),
        ("{{ session_token }}", "{{ nothing }}", "undefined value"),
        ("{{ session_token }}", "{{ session_token|safe }}", "safe"),
        ("{{ session_token }}", "{{ request.other }}", "undefined value"),
        ("{{ session_token }}", "{% for a in [1] * 9000 %}{% for b in [1] * 900 %}{% endfor %}{% endfor %}1", "fuel"),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let told = refused(&SMALL.replacen(from, to, 1));
        assert!(told.contains(said), "{to}: {told}");
    }
    let again =
        format!("{SMALL}\n{}", SMALL.split_once("[[route]]").map(|(_, route)| format!("[[route]]{route}")).unwrap());
    assert!(refused(&again).contains("is there twice"));
    assert!(
        refused(&again.replacen("{team}/keys", "{group}/keys", 1).replacen("teams/{team}", "teams/{group}", 1))
            .contains("is there twice")
    );
    assert!(refused(&format!("{SMALL}#{}", "x".repeat(Spec::MOST_BYTES))).contains("too large"));
}

#[test]
fn fields_that_cannot_be_meant_are_refused() {
    for (field, said) in [
        ("a = { means = \"bucket\" }", "it has no meaning for what this route opens"),
        ("a = { least = 1 }", "`least` and `most` go with"),
        ("a = { means = \"ttl\", least = 9, most = 1 }", "`least` is more than `most`"),
        ("a = { in = \"header\", name = \"Authorization\" }", "a meaning of its own"),
        ("a = { in = \"path\" }", "unknown variant `path`"),
        ("a = { required = true, default = \"x\" }", "has no default"),
        ("a = { one_of = [\"x\"], default = \"y\" }", "`default` is one of `one_of`"),
        ("a = { means = \"ttl\" }\nb = { means = \"ttl\" }", "another has its name or its meaning"),
        ("team = {}", "is also another name"),
        ("\"a b\" = {}", "its name has letters"),
    ] {
        let told = refused(&format!("{SMALL}\n[route.fields]\n{field}"));
        assert!(told.contains(said), "{field}: {told}");
    }
}

#[tokio::test]
async fn a_path_or_a_name_of_another_is_refused_with_both_named() {
    let world = World::new().await;
    for (base, other) in [
        ("/api", "native"),
        ("/api/v1/credentials/mine", "native"),
        ("/api/v2", "dreadnode"),
        ("/v1", "theirstack"),
        ("/v1/mine", "theirstack"),
        ("/client", "r2"),
        ("/delta-sharing/x", "sharing"),
        ("/sts", "sts"),
        ("/healthz", "server"),
        ("/readyz/x", "server"),
        ("/parcels", "parcels"),
        ("/parcels/v2/x", "parcels"),
    ] {
        let mut dialects = World::dialects(&world.shared, &world.made);
        let before = dialects.len();
        let spec = Spec::read(&SMALL.replace("/small", base)).unwrap();
        let error = custom::add(&world.shared, &mut dialects, vec![spec]).unwrap_err();
        let said = error.message();
        assert!(said.contains("`small`") && said.contains(other), "{base}: {said}");
        assert_eq!(dialects.len(), before);
    }
    let mut dialects = World::dialects(&world.shared, &world.made);
    let named = Spec::read(&SMALL.replace("\"small\"", "\"native\"")).unwrap();
    assert!(custom::add(&world.shared, &mut dialects, vec![named]).unwrap_err().message().contains("`native`"));
    for base in ["/small", "/parcels2", "/v10", "/apis"] {
        let spec = Spec::read(&SMALL.replace("/small", base)).unwrap();
        custom::add(&world.shared, &mut World::dialects(&world.shared, &world.made), vec![spec]).unwrap();
    }
}
