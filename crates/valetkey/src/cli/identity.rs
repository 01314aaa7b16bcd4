//! `valetkey identity`: whose tokens are taken for who a caller is, and by which rules.

use std::path::PathBuf;

use valetkey_core::caller::Role;
use valetkey_core::nouns::identity::Preset;
use valetkey_dialects::native::api::identity::{
    IdentityProviderChange, IdentityProviderRequest, SessionRevocation, TrustRuleChange, TrustRuleRequest,
};
use valetkey_dialects::native::api::operations as op;

use crate::cli::client::{Client, Route};
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::cli::remove::{self, Change, How};
use crate::cli::word::word;
use crate::cli::{show, ttl};

/// Take other issuers' tokens: GitHub's, GitLab's, Kubernetes', Google's, Entra's, Okta's, Keycloak's
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add an identity provider; its tokens let in nobody until it has a rule
    Add(Box<Add>),
    /// List identity providers
    #[command(visible_alias = "list")]
    Ls,
    /// Show an identity provider with its rules
    Show {
        /// Its name or id
        #[arg(value_name = "PROVIDER")]
        provider: String,
    },
    /// Change an identity provider; its sessions end
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set(Box<Set>),
    /// Remove an identity provider with its rules; its sessions end
    Rm {
        /// Its name or id
        #[arg(value_name = "PROVIDER")]
        provider: String,
        #[command(flatten)]
        end: End,
    },
    /// Add, show, change and remove the rules that say whose tokens become which caller
    Rule {
        #[command(subcommand)]
        command: Rule,
    },
    /// End sessions, and refuse the tokens that were issued before
    End {
        /// The provider's name or id
        #[arg(value_name = "PROVIDER")]
        provider: String,
        /// Only those of this subject
        #[arg(long, value_name = "SUBJECT", conflicts_with_all = ["rule", "token_id"])]
        subject: Option<String>,
        /// Only those of this rule
        #[arg(long, value_name = "RULE", conflicts_with = "token_id")]
        rule: Option<String>,
        /// Only that of the token of this id (`jti`), also if it was not seen yet
        #[arg(long, value_name = "JTI")]
        token_id: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct End {
    /// End the last token of an operator, too
    #[arg(long)]
    last_operator: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// What kind it is: `github`, `gitlab`, `kubernetes`, `google`, `entra`, `okta`, `keycloak` or `other`
    #[arg(long, value_name = "KIND", value_parser = word::<Preset>(), hide_possible_values = true)]
    preset: Option<Preset>,
    /// What its tokens say that issued them (`iss`); known of github, gitlab and google
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The audience that its tokens are asked for. May be repeated
    #[arg(long = "audience", value_name = "AUDIENCE", required = true)]
    audiences: Vec<String>,
    #[command(flatten)]
    said: Said,
}

#[derive(Debug, clap::Args)]
struct Set {
    /// Its name or id
    #[arg(value_name = "PROVIDER")]
    provider: String,
    /// Another name
    #[arg(long, value_name = "NAME", group = "what")]
    name: Option<String>,
    /// Another issuer
    #[arg(long, value_name = "URL", group = "what")]
    issuer: Option<String>,
    /// The audiences from now on. May be repeated
    #[arg(long = "audience", value_name = "AUDIENCE", group = "what")]
    audiences: Vec<String>,
    /// Ask its discovery document where its keys are
    #[arg(long, group = "what", conflicts_with_all = ["jwks_uri", "jwks_file"])]
    discovery: bool,
    /// Let nobody log in there any more
    #[arg(long, group = "what", conflicts_with_all = ["login_client_id", "login_scopes"])]
    no_login: bool,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    change: Change,
}

/// What is said of a provider in either case
#[derive(Debug, clap::Args)]
struct Said {
    /// Where its keys are, if not where its discovery document says
    #[arg(long, value_name = "URL", group = "what", conflicts_with = "jwks_file")]
    jwks_uri: Option<String>,
    /// A file with its keys (a JSON Web Key Set), for an issuer that the server does not reach
    #[arg(long, value_name = "FILE", group = "what")]
    jwks_file: Option<PathBuf>,
    /// Only tokens of this client (`azp`). May be repeated
    #[arg(long = "party", value_name = "CLIENT", group = "what")]
    parties: Vec<String>,
    /// A claim that subjects are made of, `?` behind one that may be missing. May be repeated
    #[arg(long = "subject", value_name = "CLAIM", group = "what")]
    subject: Vec<String>,
    /// How it may sign: `RS256`, `ES256`, … May be repeated
    #[arg(long = "algorithm", value_name = "ALG", group = "what")]
    algorithms: Vec<String>,
    /// By how much its clock may differ: `60s`
    #[arg(long, value_name = "TIME", value_parser = ttl::parse, group = "what")]
    leeway: Option<u32>,
    /// How old a token may be: `24h`
    #[arg(long, value_name = "TIME", value_parser = ttl::parse, group = "what")]
    max_age: Option<u32>,
    /// The public client as which people log in there with `valetkey login`; it is one of the audiences
    #[arg(long, value_name = "CLIENT", group = "what")]
    login_client_id: Option<String>,
    /// A scope that a login asks for; `openid` and `offline_access` unless given. May be repeated
    #[arg(long = "login-scope", value_name = "SCOPE", group = "what")]
    login_scopes: Vec<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Rule {
    /// Add a rule
    Add {
        /// The provider's name or id
        #[arg(value_name = "PROVIDER")]
        provider: String,
        /// The rule's name
        #[arg(value_name = "RULE")]
        name: String,
        /// The account of the caller
        #[arg(long, value_name = "ACCOUNT")]
        account: String,
        /// The caller that a token becomes: `etl`, `ci-{repository_id}`, `{subject}`
        #[arg(long, value_name = "CALLER")]
        caller: String,
        /// What the token has to claim: `ref=refs/heads/main`, `ref=glob:refs/tags/*`. May be repeated
        #[arg(long = "claim", value_name = "CLAIM=VALUE", required = true)]
        claims: Vec<String>,
        /// What the caller may do beside asking for credentials; `member` unless given
        #[arg(long, value_parser = word::<Role>())]
        role: Option<Role>,
        /// Let what is vended live so long from a token's first use, even if the token ends sooner: `1h`
        #[arg(long, value_name = "TIME", value_parser = ttl::parse)]
        outlive: Option<u32>,
    },
    /// Change a rule; what it let in ends
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set {
        /// The provider's name or id
        #[arg(value_name = "PROVIDER")]
        provider: String,
        /// The rule's name or id
        #[arg(value_name = "RULE")]
        rule: String,
        /// Another name
        #[arg(long, value_name = "NAME", group = "what")]
        name: Option<String>,
        /// Another account
        #[arg(long, value_name = "ACCOUNT", group = "what")]
        account: Option<String>,
        /// Another caller
        #[arg(long, value_name = "CALLER", group = "what")]
        caller: Option<String>,
        /// What the token has to claim from now on. May be repeated
        #[arg(long = "claim", value_name = "CLAIM=VALUE", group = "what")]
        claims: Vec<String>,
        /// Another role
        #[arg(long, value_parser = word::<Role>(), group = "what")]
        role: Option<Role>,
        /// Let what is vended live so long from a token's first use
        #[arg(long, value_name = "TIME", value_parser = ttl::parse, group = "what", conflicts_with = "no_outlive")]
        outlive: Option<u32>,
        /// Let nothing live longer than its token
        #[arg(long, group = "what")]
        no_outlive: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Remove a rule; what it let in ends
    Rm {
        /// The provider's name or id
        #[arg(value_name = "PROVIDER")]
        provider: String,
        /// The rule's name or id
        #[arg(value_name = "RULE")]
        rule: String,
        #[command(flatten)]
        end: End,
    },
}

pub(super) const COLUMNS: &[show::Column] = &[
    ("NAME", &["name"]),
    ("PRESET", &["preset"]),
    ("ISSUER", &["issuer"]),
    ("AUDIENCES", &["audiences"]),
    ("KEYS", &["keys"]),
    ("ID", &["id"]),
];

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn keys(file: Option<&PathBuf>) -> Result<Option<String>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let failed = |error| Failure::local(format!("{} cannot be read: {error}", file.display()));
    std::fs::read_to_string(file).map(Some).map_err(failed)
}

/// Runs `valetkey identity`.
pub(crate) async fn run(args: Args, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match args.command {
        Command::Add(add) => {
            let answer = client.send(Route::to(op::CREATE_IDENTITY_PROVIDER, []), &request(*add)?).await?;
            show::one(out, &answer, &["name", "issuer", "audiences", "keys", "id"])
        }
        Command::Ls => {
            let answer = client.ask(Route::to(op::LIST_IDENTITY_PROVIDERS, [])).await?;
            show::list(out, &answer, COLUMNS, "there are no identity providers")
        }
        Command::Show { provider } => {
            let answer = client.ask(Route::to(op::GET_IDENTITY_PROVIDER, [&provider])).await?;
            show::one(out, &answer, &["name", "issuer", "audiences", "keys", "id", "rules"])
        }
        Command::Set(set) => {
            let (provider, change) = (set.provider.clone(), set.change);
            let route = change.on(Route::to(op::CHANGE_IDENTITY_PROVIDER, [&provider]));
            let answer = client.send(route, &changed(*set)?).await?;
            change.told(out, &answer, &format!("identity provider {provider} is changed"))
        }
        Command::Rm { provider, end } => {
            let route = end.on(Route::to(op::REMOVE_IDENTITY_PROVIDER, [&provider]));
            let done = format!("identity provider {provider} is removed, and its sessions are ended");
            remove::run(route, &end.how, &done, client, out).await.map(drop)
        }
        Command::Rule { command } => rule(command, client, out).await,
        Command::End { provider, subject, rule, token_id } => {
            let body = SessionRevocation { subject, rule, token_id };
            let answer = client.send(Route::to(op::END_SESSIONS, [&provider]), &body).await?;
            let ended = show::find(&answer, &["ended"]).and_then(serde_json::Value::as_u64).unwrap_or_default();
            show::done(out, &answer, &format!("the sessions have ended, and {ended} live leases with them"))
        }
    }
}

impl End {
    fn on(&self, route: Route) -> Route {
        route.with_some("last_operator", self.last_operator.then_some("true"))
    }
}

fn request(add: Add) -> Result<IdentityProviderRequest, Failure> {
    let Add { name, preset, issuer, audiences, said } = add;
    let Said { jwks_uri, jwks_file, parties, subject, algorithms, leeway, max_age, login_client_id, login_scopes } =
        said;
    Ok(IdentityProviderRequest {
        name,
        preset: preset.map(|one| one.as_str().to_owned()),
        issuer,
        audiences,
        jwks_uri,
        jwks: keys(jwks_file.as_ref())?,
        parties: some(parties),
        subject: some(subject),
        algorithms: some(algorithms),
        leeway_secs: leeway,
        max_age_secs: max_age,
        login_client_id,
        login_scopes: some(login_scopes),
    })
}

fn changed(set: Set) -> Result<IdentityProviderChange, Failure> {
    let Set { provider: _, name, issuer, audiences, discovery, no_login, said, change: _ } = set;
    let Said { jwks_uri, jwks_file, parties, subject, algorithms, leeway, max_age, login_client_id, login_scopes } =
        said;
    Ok(IdentityProviderChange {
        name,
        issuer,
        audiences: some(audiences),
        discovery: discovery.then_some(true),
        jwks_uri,
        jwks: keys(jwks_file.as_ref())?,
        parties: some(parties),
        subject: some(subject),
        algorithms: some(algorithms),
        leeway_secs: leeway,
        max_age_secs: max_age,
        login_client_id: if no_login { Some(String::new()) } else { login_client_id },
        login_scopes: some(login_scopes),
    })
}

async fn rule(command: Rule, client: &Client<'_>, out: &Out) -> Result<(), Failure> {
    match command {
        Rule::Add { provider, name, account, caller, claims, role, outlive } => {
            let done = format!("rule {name} is added to {provider}");
            let role = role.map(|role| role.as_str().to_owned());
            let body = TrustRuleRequest { name, account, caller, claims, role, outlive_secs: outlive };
            let answer = client.send(Route::to(op::CREATE_TRUST_RULE, [&provider]), &body).await?;
            show::done(out, &answer, &done)
        }
        Rule::Set { provider, rule, name, account, caller, claims, role, outlive, no_outlive, change } => {
            let role = role.map(|role| role.as_str().to_owned());
            let outlive_secs = if no_outlive { Some(0) } else { outlive };
            let body = TrustRuleChange { name, account, caller, claims: some(claims), role, outlive_secs };
            let route = change.on(Route::to(op::CHANGE_TRUST_RULE, [&provider, &rule]));
            let answer = client.send(route, &body).await?;
            change.told(out, &answer, &format!("rule {rule} of {provider} is changed"))
        }
        Rule::Rm { provider, rule, end } => {
            let route = end.on(Route::to(op::REMOVE_TRUST_RULE, [&provider, &rule]));
            let done = format!("rule {rule} of {provider} is removed, and what it let in is ended");
            remove::run(route, &end.how, &done, client, out).await.map(drop)
        }
    }
}
