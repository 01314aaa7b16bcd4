//! Every operation of this API: its method and its path, for the server's routes and for clients.

use http::Method;

/// An operation, with this many parameters in its path.
#[derive(Clone, Debug)]
pub struct Operation<const N: usize> {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
}

impl<const N: usize> Operation<N> {
    /// The segments of its path with these parameters, none of them encoded.
    pub fn segments(&self, parameters: [&str; N]) -> Vec<String> {
        let mut parameters = parameters.into_iter();
        let segments = self.path.split('/').skip(1);
        let filled = segments.map(|own| if own.starts_with('{') { parameters.next().unwrap_or_default() } else { own });
        filled.map(str::to_owned).collect()
    }
}

/// How many parameters a path has.
const fn parameters(path: &str) -> usize {
    let (mut rest, mut count) = (path.as_bytes(), 0);
    while let [byte, more @ ..] = rest {
        if *byte == b'{' {
            count += 1;
        }
        rest = more;
    }
    count
}

macro_rules! operations {
    ($($name:ident = $method:ident $path:literal;)+) => {
        $(
            #[doc = concat!("`", stringify!($method), " ", $path, "`")]
            pub const $name: Operation<{ parameters($path) }> = Operation { method: Method::$method, path: $path };
        )+
    };
}

operations! {
    SIGN_IN = POST "/console/session";
    BEGIN_LOGIN = POST "/console/login";
    RENEW_SESSION = PUT "/console/session";
    SIGN_OUT = DELETE "/console/session";
    VEND = POST "/api/v1/credentials";
    LIST_LEASES = GET "/api/v1/leases";
    GET_LEASE = GET "/api/v1/leases/{lease}";
    END_LEASE = DELETE "/api/v1/leases/{lease}";
    REVOKE = POST "/api/v1/revocations";
    WHOSE = GET "/api/v1/whose/{access_key_id}";
    EXPLAIN = POST "/api/v1/explain";
    LIST_ACCESS = GET "/api/v1/access";
    ME = GET "/api/v1/me";
    LIST_GRANTS = GET "/api/v1/grants";
    CREATE_GRANT = POST "/api/v1/grants";
    CHANGE_GRANT = PATCH "/api/v1/grants/{grant}";
    REMOVE_GRANT = DELETE "/api/v1/grants/{grant}";
    LIST_GROUPS = GET "/api/v1/groups";
    CREATE_GROUP = POST "/api/v1/groups";
    GET_GROUP = GET "/api/v1/groups/{group}";
    CHANGE_GROUP = PATCH "/api/v1/groups/{group}";
    REMOVE_GROUP = DELETE "/api/v1/groups/{group}";
    LIST_REQUESTS = GET "/api/v1/requests";
    CREATE_REQUEST = POST "/api/v1/requests";
    GET_REQUEST = GET "/api/v1/requests/{request}";
    CANCEL_REQUEST = DELETE "/api/v1/requests/{request}";
    APPROVE_REQUEST = POST "/api/v1/requests/{request}/approve";
    DENY_REQUEST = POST "/api/v1/requests/{request}/deny";
    LIST_REQUEST_RULES = GET "/api/v1/request-rules";
    CREATE_REQUEST_RULE = POST "/api/v1/request-rules";
    CHANGE_REQUEST_RULE = PATCH "/api/v1/request-rules/{rule}";
    REMOVE_REQUEST_RULE = DELETE "/api/v1/request-rules/{rule}";
    LIST_ACCOUNTS = GET "/api/v1/accounts";
    CREATE_ACCOUNT = POST "/api/v1/accounts";
    CHANGE_ACCOUNT = PATCH "/api/v1/accounts/{account}";
    REMOVE_ACCOUNT = DELETE "/api/v1/accounts/{account}";
    ADD_CREDITS = POST "/api/v1/accounts/{account}/credits";
    LIST_ALL_CALLERS = GET "/api/v1/callers";
    LIST_CALLERS = GET "/api/v1/accounts/{account}/callers";
    CREATE_CALLER = POST "/api/v1/accounts/{account}/callers";
    CHANGE_CALLER = PATCH "/api/v1/accounts/{account}/callers/{caller}";
    REMOVE_CALLER = DELETE "/api/v1/accounts/{account}/callers/{caller}";
    HANDLE_INCIDENT = POST "/api/v1/incidents";
    LIST_TOKENS = GET "/api/v1/tokens";
    CREATE_TOKEN = POST "/api/v1/tokens";
    CHANGE_TOKEN = PATCH "/api/v1/tokens/{token}";
    END_TOKEN = DELETE "/api/v1/tokens/{token}";
    LIST_STORAGES = GET "/api/v1/storages";
    CREATE_STORAGE = POST "/api/v1/storages";
    CHANGE_STORAGE = PATCH "/api/v1/storages/{storage}";
    REMOVE_STORAGE = DELETE "/api/v1/storages/{storage}";
    END_STORAGE_CREDENTIALS = POST "/api/v1/storages/{storage}/revocations";
    CHECK_STORAGE = POST "/api/v1/storages/{storage}/checks";
    LIST_BUCKETS = GET "/api/v1/buckets";
    CREATE_BUCKET = POST "/api/v1/buckets";
    GET_BUCKET_CORS = GET "/api/v1/buckets/{bucket}/cors";
    SET_BUCKET_CORS = PUT "/api/v1/buckets/{bucket}/cors";
    REMOVE_BUCKET_CORS = DELETE "/api/v1/buckets/{bucket}/cors";
    REMOVE_BUCKET = DELETE "/api/v1/buckets/{bucket}";
    LIST_DATASETS = GET "/api/v1/datasets";
    CREATE_DATASET = POST "/api/v1/datasets";
    CHANGE_DATASET = PATCH "/api/v1/datasets/{dataset}";
    REMOVE_DATASET = DELETE "/api/v1/datasets/{dataset}";
    LIST_SHARES = GET "/api/v1/shares";
    CREATE_SHARE = POST "/api/v1/shares";
    REMOVE_SHARE = DELETE "/api/v1/shares/{share}";
    LIST_SHARED_TABLES = GET "/api/v1/shares/{share}/tables";
    ADD_SHARED_TABLE = POST "/api/v1/shares/{share}/tables";
    REMOVE_SHARED_TABLE = DELETE "/api/v1/shares/{share}/tables/{table}";
    LIST_SHARE_RECIPIENTS = GET "/api/v1/shares/{share}/recipients";
    GIVE_SHARE = POST "/api/v1/shares/{share}/recipients";
    TAKE_SHARE = DELETE "/api/v1/shares/{share}/recipients/{account}";
    CREATE_SHARE_PROFILE = POST "/api/v1/share-profiles";
    CREATE_SHARE_LINK = POST "/api/v1/share-links";
    VERIFY_LEDGER = GET "/api/v1/ledger/verify";
    LIST_CHANGES = GET "/api/v1/audit";
    LIST_REFUSALS = GET "/api/v1/refusals";
    LIST_NODES = GET "/api/v1/nodes";
    LIST_EVENTS = GET "/api/v1/audit/events";
    USAGE = GET "/api/v1/usage";
    LIST_WORKSPACES = GET "/api/v1/workspaces";
    CREATE_WORKSPACE = POST "/api/v1/workspaces";
    CHANGE_WORKSPACE = PATCH "/api/v1/workspaces/{workspace}";
    REMOVE_WORKSPACE = DELETE "/api/v1/workspaces/{workspace}";
    LIST_PARENT_KEYS = GET "/api/v1/parent-keys";
    CREATE_PARENT_KEY = POST "/api/v1/parent-keys";
    CHANGE_PARENT_KEY = PATCH "/api/v1/parent-keys/{key}";
    DISABLE_PARENT_KEY = DELETE "/api/v1/parent-keys/{key}";
    LIST_LOGIN_PROVIDERS = GET "/api/v1/login-providers";
    LIST_IDENTITY_PROVIDERS = GET "/api/v1/identity-providers";
    CREATE_IDENTITY_PROVIDER = POST "/api/v1/identity-providers";
    GET_IDENTITY_PROVIDER = GET "/api/v1/identity-providers/{provider}";
    CHANGE_IDENTITY_PROVIDER = PATCH "/api/v1/identity-providers/{provider}";
    REMOVE_IDENTITY_PROVIDER = DELETE "/api/v1/identity-providers/{provider}";
    CREATE_TRUST_RULE = POST "/api/v1/identity-providers/{provider}/rules";
    CHANGE_TRUST_RULE = PATCH "/api/v1/identity-providers/{provider}/rules/{rule}";
    REMOVE_TRUST_RULE = DELETE "/api/v1/identity-providers/{provider}/rules/{rule}";
    END_SESSIONS = POST "/api/v1/identity-providers/{provider}/revocations";
    LIST_SIGNING_KEYS = GET "/api/v1/signing-keys";
    ROTATE_SIGNING_KEYS = POST "/api/v1/signing-keys";
    WITHDRAW_SIGNING_KEY = DELETE "/api/v1/signing-keys/{kid}";
    GET_POLICY = GET "/api/v1/policy";
    PLAN_POLICY = POST "/api/v1/policy/plan";
    APPLY_POLICY = POST "/api/v1/policy/apply";
    OWN_POLICY = POST "/api/v1/policy/owners";
    END_CHILD = POST "/api/v1/parent-keys/{key}/revocations";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_takes_as_many_names_as_it_has_parameters() {
        assert_eq!(LIST_CALLERS.segments(["a/b"]), ["api", "v1", "accounts", "a/b", "callers"]);
        assert_eq!(CHANGE_CALLER.segments(["acme", "etl"]), ["api", "v1", "accounts", "acme", "callers", "etl"]);
    }
}
