//! Access tokens of Microsoft Entra, to ask the storage account for a delegation key, and Azure's management to revoke those.

use std::path::PathBuf;

use jiff::SignedDuration;
use reqwest::RequestBuilder;
use valetkey_core::hosts::{Hosts, Platform};
use valetkey_core::{Error, Kind, Secret};

use crate::azure::Identity;
use crate::own::{Own, Signed};
use crate::renewing::Renewing;
use crate::web::{Bearer, Transport, Web, form, hidden, origin_of, url};

/// Where Entra gives tokens.
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// Where a machine in Azure asks for a token of its managed identity.
const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// What a token is for that asks a storage account.
pub(super) const STORAGE: &str = "https://storage.azure.com/";
/// A token that ends sooner is not used again.
const SPARE: SignedDuration = SignedDuration::from_mins(1);
/// Another is sought so long before one ends.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// A way to a token.
#[derive(Debug)]
enum Way {
    Secret { url: String, client: String, secret: Secret<String> },
    File { url: String, client: String, file: PathBuf },
    Own { url: String, client: String, own: Own, audience: &'static str },
    Managed { url: String },
    Platform { url: String, header: Secret<String> },
}

/// Who this server is, and what proves it.
#[derive(Clone)]
pub(super) struct Who<'a> {
    pub(super) identity: &'a Identity,
    /// The secret of a kind that has one.
    pub(super) secret: Option<Secret<String>>,
    /// What the server's platform says.
    pub(super) platform: Option<&'a Platform>,
    /// What makes this server's own tokens.
    pub(super) own: Option<Own>,
}

/// Where the tokens come from, and the last one.
pub(super) struct Tokens {
    way: Way,
    scope: String,
    last: Renewing<Bearer>,
}

impl Tokens {
    /// Takes the settings, for tokens for a resource (a URL that ends in a slash); nothing when the account's own key signs.
    pub(super) fn new(
        Who { identity, secret, platform, own }: Who<'_>,
        resource: &str,
        hosts: &mut Hosts,
    ) -> Result<Option<Self>, Error> {
        let way = match identity {
            Identity::ClientSecret { tenant, client, authority } => Way::Secret {
                url: token_url(tenant, authority.as_deref())?,
                client: plain(client, "identity.client")?,
                secret: secret.ok_or_else(|| {
                    Error::new(Kind::Invalid, "this identity needs a client secret").at("client_secret")
                })?,
            },
            Identity::WorkloadIdentity { tenant, client, token_file, authority } => Way::File {
                url: token_url(tenant, authority.as_deref())?,
                client: plain(client, "identity.client")?,
                file: token_file.clone(),
            },
            Identity::Valetkey { tenant, client, authority } => {
                let url = token_url(tenant, authority.as_deref())?;
                let own = own.ok_or_else(|| Error::internal("this server's identity is not given"))?;
                Way::Own { audience: audience(&url)?, url, client: plain(client, "identity.client")?, own }
            }
            Identity::ManagedIdentity { client, endpoint } => {
                let endpoint = endpoint.as_deref().unwrap_or(METADATA);
                let endpoint = url(endpoint, Transport::Any, "identity.endpoint")?;
                let client = client.as_deref().map(|client| plain(client, "identity.client")).transpose()?;
                let mut fields = vec![("api-version", "2018-02-01"), ("resource", resource)];
                fields.extend(client.as_deref().map(|client| ("client_id", client)));
                Way::Managed { url: format!("{endpoint}?{}", form(&fields)) }
            }
            Identity::AppServiceIdentity { client } => {
                let Platform { endpoint, header } = Platform::needed(platform, "identity.kind")?;
                let endpoint = url(endpoint, Transport::Any, "identity.kind")?;
                let client = client.as_deref().map(|client| plain(client, "identity.client")).transpose()?;
                let mut fields = vec![("api-version", "2019-08-01"), ("resource", resource)];
                fields.extend(client.as_deref().map(|client| ("client_id", client)));
                Way::Platform { url: format!("{endpoint}?{}", form(&fields)), header: header.clone() }
            }
            Identity::AccountKey {} => return Ok(None),
        };
        match &way {
            Way::Secret { url, .. } | Way::File { url, .. } | Way::Own { url, .. } => {
                hosts.send("identity.authority", origin_of(url)?);
            }
            Way::Managed { url } => hosts.tell("identity.endpoint", origin_of(url)?),
            Way::Platform { url, .. } => hosts.surround(origin_of(url)?),
        }
        Ok(Some(Self { way, scope: format!("{resource}.default"), last: Renewing::new() }))
    }

    /// A token with some time left: the last one or a new one.
    pub(super) async fn get(&self, web: &Web) -> Result<Bearer, Error> {
        let now = web.now();
        let fetch = async { Ok(self.fetch(web).await?.renewed(now, AHEAD)) };
        self.last.get(now, |token| token.outlives(now, SPARE), fetch).await
    }

    /// Forgets the last token: it was refused.
    pub(super) fn forget(&self) {
        self.last.forget();
    }

    /// Asks with another issuer's token ("Access token request with a federated credential").
    fn asserted(&self, web: &Web, url: &str, client: &str, assertion: &Secret<String>) -> RequestBuilder {
        web.post_form(
            url,
            &[
                ("client_id", client),
                ("client_assertion", assertion.reveal().trim()),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("grant_type", "client_credentials"),
                ("scope", &self.scope),
            ],
        )
    }

    async fn fetch(&self, web: &Web) -> Result<Bearer, Error> {
        let request = match &self.way {
            Way::Secret { url, client, secret } => web.post_form(
                url,
                &[
                    ("client_id", client),
                    ("client_secret", secret.reveal()),
                    ("grant_type", "client_credentials"),
                    ("scope", &self.scope),
                ],
            ),
            Way::File { url, client, file } => {
                // Read each time: whoever wrote the file renews it.
                let assertion = tokio::fs::read_to_string(file).await.map(Secret::new).map_err(|error| {
                    Error::new(Kind::Unavailable, "the server cannot authenticate to the storage's provider")
                        .note(format!("the federated token's file {} cannot be read", file.display()))
                        .caused_by(error)
                })?;
                self.asserted(web, url, client, &assertion)
            }
            Way::Own { url, client, own, audience } => {
                // Entra takes RS256 and nothing else.
                let assertion = own.token(audience, Signed::Rs256, &[]).await?;
                self.asserted(web, url, client, &assertion)
            }
            Way::Managed { url } => web.get(url).header("Metadata", "true"),
            Way::Platform { url, header } => web.get(url).header(Platform::HEADER, hidden(header.reveal())?),
        };
        web.ask("Microsoft Entra", request).await?.success()?.bearer()
    }
}

/// What federated credentials of a cloud are for, unless they say otherwise (Microsoft Graph, `federatedIdentityCredential`).
fn audience(token_url: &str) -> Result<&'static str, Error> {
    let host = origin_of(token_url)?;
    Ok(match host.host() {
        "login.microsoftonline.us" => "api://AzureADTokenExchangeUSGov",
        "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => "api://AzureADTokenExchangeChina",
        _ => "api://AzureADTokenExchange",
    })
}

fn token_url(tenant: &str, authority: Option<&str>) -> Result<String, Error> {
    let authority = url(authority.unwrap_or(AUTHORITY), Transport::Private, "identity.authority")?;
    Ok(format!("{authority}/{}/oauth2/v2.0/token", plain(tenant, "identity.tenant")?))
}

/// A tenant or client, which become parts of a URL: an id or a domain.
fn plain(text: &str, field: &'static str) -> Result<String, Error> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(good) || text.contains("..") {
        return Err(Error::new(Kind::Invalid, "this is an id or a domain: letters, digits, `-` and `.`").at(field));
    }
    Ok(text.to_owned())
}
