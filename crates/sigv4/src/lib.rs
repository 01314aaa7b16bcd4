//! AWS Signature Version 4, both ways: what a request claims and whether it proves it ([`Claimed`]), and the signature of a request
//! that is sent ([`sign()`]) or given away as a URL ([`SigningKey`]).
//!
//! SECURITY: stricter than what libraries offer. Every `x-amz-*` header and the host must be signed, nothing is decoded twice or
//! normalised, nothing may be said twice, and `now` is an argument.
//!
//! Sources: AWS General Reference, "Signature Version 4 signing process"; Amazon S3 API Reference, "Authenticating Requests".

mod claimed;
mod encoding;
mod key;
mod query;
mod refused;
mod sign;

pub use claimed::{CONTENT_SHA256, ChunkKey, Claimed, Payload, single, version_2_key_id};
pub use encoding::{Slash, decode, encode, encode_path};
pub use key::{SigningKey, sha256};
pub use query::{Query, is_proof};
pub use refused::{Malformed, Place, Refused};
pub use sign::{ChunkSigner, Proof, Signed, Signer, Signing, Whole, sign, sign_whole};

/// The one algorithm there is.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What every credential scope ends with.
const TERMINATOR: &str = "aws4_request";
