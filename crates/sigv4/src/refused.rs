//! Why a request proves nothing.

/// Where the proof stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the `Authorization` header.
    Header,
    /// In the query: a presigned URL.
    Query,
}

/// What is wrong with a proof's form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// A field has no value.
    NoValue,
    /// A field is unknown.
    UnknownField,
    /// A field is there twice.
    FieldTwice,
    /// A field is missing; in a query also: there twice.
    MissingField,
    /// The algorithm is another one.
    Algorithm,
    /// `Credential` does not have its five parts.
    Credential,
    /// The credential is for another service.
    Service,
    /// The credential scope does not end as it must, or there is no access key id.
    Terminator,
    /// The scope's date is not the request's.
    Date,
    /// `SignedHeaders` does not name each header once, in lower case.
    SignedHeaders,
}

/// Why a request proves nothing. Each dialect has its own words and codes for these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no proof.
    Missing,
    /// Proofs in the header and in the query.
    Twice,
    /// Signature version 2, in the query.
    Version2,
    /// A mechanism that is not this one.
    Mechanism,
    /// The proof cannot be read.
    Malformed(Place, Malformed),
    /// `X-Amz-Expires` is not within its bounds; with the access key id that is claimed.
    Expires(Option<String>),
    /// No instant, or one that cannot be read.
    Time,
    /// No digest of the body where one must be told.
    NoDigest,
    /// What is told of the body's digest is none of what there is.
    Digest,
    /// Two digests of the body are given.
    TwoDigests,
    /// Signed with ECDSA.
    Ecdsa,
    /// A presigned URL whose body comes in signed chunks.
    PresignedChunks,
    /// The session token is in the query and in a header.
    TwoTokens,
    /// A header that may be there once is there twice.
    HeaderTwice,
    /// A header is not text.
    HeaderNotText,
    /// What cannot be percent-decoded.
    Encoding,
    /// Something that counts is not covered by the signature.
    Uncovered,
    /// The request's time is too far from now.
    Skewed,
    /// A presigned URL whose time has not come.
    NotYet,
    /// A presigned URL whose time is over.
    Expired,
    /// The signature does not fit.
    Mismatch,
}
