//! The credentials that the machine itself has at AWS.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};

/// The credentials that the machine has: in its environment, by its identity. Nothing else of the environment counts.
pub(crate) fn machine_keys() -> AmazonS3Builder {
    const KEYS: [Key; 11] = [
        Key::AccessKeyId,
        Key::SecretAccessKey,
        Key::Token,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
        Key::ContainerAuthorizationTokenFile,
        Key::WebIdentityTokenFile,
        Key::RoleArn,
        Key::RoleSessionName,
        Key::StsEndpoint,
        Key::MetadataEndpoint,
    ];
    let found = AmazonS3Builder::from_env();
    KEYS.into_iter().fold(AmazonS3Builder::new(), |builder, key| match found.get_config_value(&key) {
        Some(value) => builder.with_config(key, value),
        None => builder,
    })
}
