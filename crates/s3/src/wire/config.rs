//! A bucket's configuration: there is none to keep yet, and these say so.

use s3s::S3ErrorCode;

use crate::error::{Result, refuse, refuse_custom};

/// Nothing is allowed across origins.
pub(super) fn cors() -> Result<()> {
    Err(refuse(S3ErrorCode::NoSuchCORSConfiguration, "The CORS configuration does not exist"))
}

/// Nothing ends by its age.
pub(super) fn lifecycle() -> Result<()> {
    Err(refuse(S3ErrorCode::NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist"))
}

/// SECURITY: nothing is encrypted here, and whoever asks must not be told otherwise.
pub(super) fn encryption() -> Result<()> {
    Err(refuse_custom(
        "ServerSideEncryptionConfigurationNotFoundError",
        http::StatusCode::NOT_FOUND,
        "The server side encryption configuration was not found",
    ))
}
