//! The files of the demo's Iceberg table, each by its key. Made by `demo/make_iceberg.py`.

/// The bucket of the table.
pub(crate) const BUCKET: &str = "flights-lake";
/// The key of the table's directory.
pub(crate) const ROOT: &str = "tables/arrivals";
/// The files: key, media type, bytes.
#[rustfmt::skip]
pub(crate) const FILES: &[(&str, &str, &[u8])] = &[
    ("tables/arrivals/data/00000-0-63639388-88a3-441b-9065-ab5fd5a90e18.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/arrivals/data/00000-0-63639388-88a3-441b-9065-ab5fd5a90e18.parquet")),
    ("tables/arrivals/metadata/00001-066433e9-2e76-4dcf-bad4-c27368ba55fe.metadata.json", "application/json", include_bytes!("data/flights-lake/tables/arrivals/metadata/00001-066433e9-2e76-4dcf-bad4-c27368ba55fe.metadata.json")),
    ("tables/arrivals/metadata/63639388-88a3-441b-9065-ab5fd5a90e18-m0.avro", "application/octet-stream", include_bytes!("data/flights-lake/tables/arrivals/metadata/63639388-88a3-441b-9065-ab5fd5a90e18-m0.avro")),
    ("tables/arrivals/metadata/snap-5553475409438332428-0-63639388-88a3-441b-9065-ab5fd5a90e18.avro", "application/octet-stream", include_bytes!("data/flights-lake/tables/arrivals/metadata/snap-5553475409438332428-0-63639388-88a3-441b-9065-ab5fd5a90e18.avro")),
];
