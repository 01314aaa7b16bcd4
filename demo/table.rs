//! The files of the demo's Delta table, each by its key. Made by `demo/make_delta.py`.

/// The bucket of the table.
pub(crate) const BUCKET: &str = "flights-lake";
/// The key of the table's directory.
pub(crate) const ROOT: &str = "tables/flights";
/// The files: key, media type, bytes.
#[rustfmt::skip]
pub(crate) const FILES: &[(&str, &str, &[u8])] = &[
    ("tables/flights/_change_data/origin=EWR/part-00000-22520167-d13c-4900-a080-9081442ba355-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/_change_data/origin=EWR/part-00000-22520167-d13c-4900-a080-9081442ba355-c000.zstd.parquet")),
    ("tables/flights/_change_data/origin=JFK/part-00000-b02122a6-83e3-4ec0-9976-25343b791558-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/_change_data/origin=JFK/part-00000-b02122a6-83e3-4ec0-9976-25343b791558-c000.zstd.parquet")),
    ("tables/flights/_change_data/origin=JFK/part-00000-cd19b5a6-495e-425e-8f46-04ba4c54bd55-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/_change_data/origin=JFK/part-00000-cd19b5a6-495e-425e-8f46-04ba4c54bd55-c000.zstd.parquet")),
    ("tables/flights/_change_data/origin=LGA/part-00000-75ab7fcb-0535-4c95-93b5-04eb9d095764-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/_change_data/origin=LGA/part-00000-75ab7fcb-0535-4c95-93b5-04eb9d095764-c000.zstd.parquet")),
    ("tables/flights/_delta_log/00000000000000000000.json", "application/json", include_bytes!("data/flights-lake/tables/flights/_delta_log/00000000000000000000.json")),
    ("tables/flights/_delta_log/00000000000000000001.json", "application/json", include_bytes!("data/flights-lake/tables/flights/_delta_log/00000000000000000001.json")),
    ("tables/flights/_delta_log/00000000000000000002.json", "application/json", include_bytes!("data/flights-lake/tables/flights/_delta_log/00000000000000000002.json")),
    ("tables/flights/_delta_log/00000000000000000003.json", "application/json", include_bytes!("data/flights-lake/tables/flights/_delta_log/00000000000000000003.json")),
    ("tables/flights/origin=EWR/part-00000-356a0183-7476-4542-9145-0eb1a7695e81-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/origin=EWR/part-00000-356a0183-7476-4542-9145-0eb1a7695e81-c000.zstd.parquet")),
    ("tables/flights/origin=EWR/part-00000-ad0549a7-1b11-4725-9bc1-56a95bc9a666-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/origin=EWR/part-00000-ad0549a7-1b11-4725-9bc1-56a95bc9a666-c000.zstd.parquet")),
    ("tables/flights/origin=EWR/part-00000-ada15c9c-19d6-4dbe-891e-f9e2e2825346-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/origin=EWR/part-00000-ada15c9c-19d6-4dbe-891e-f9e2e2825346-c000.zstd.parquet")),
    ("tables/flights/origin=JFK/part-00000-2972a699-adf1-4bb6-a399-3b029b98f733-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/origin=JFK/part-00000-2972a699-adf1-4bb6-a399-3b029b98f733-c000.zstd.parquet")),
    ("tables/flights/origin=JFK/part-00000-5417ab5d-3c9c-4c1f-8515-46c994c0e49b-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/origin=JFK/part-00000-5417ab5d-3c9c-4c1f-8515-46c994c0e49b-c000.zstd.parquet")),
    ("tables/flights/origin=JFK/part-00000-95eab40c-d251-460e-b8ee-affd6e5cd78e-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/origin=JFK/part-00000-95eab40c-d251-460e-b8ee-affd6e5cd78e-c000.zstd.parquet")),
    ("tables/flights/origin=JFK/part-00000-e7e9fb8e-4833-43c2-97bf-e0342d5be257-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/origin=JFK/part-00000-e7e9fb8e-4833-43c2-97bf-e0342d5be257-c000.zstd.parquet")),
    ("tables/flights/origin=LGA/part-00000-2973cf90-0266-4a61-8a80-d69b9e9f9598-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/origin=LGA/part-00000-2973cf90-0266-4a61-8a80-d69b9e9f9598-c000.zstd.parquet")),
    ("tables/flights/origin=LGA/part-00000-460f0d95-8d3a-4a30-8c27-aa30c0bdc484-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/origin=LGA/part-00000-460f0d95-8d3a-4a30-8c27-aa30c0bdc484-c000.zstd.parquet")),
    ("tables/flights/origin=LGA/part-00000-763f51b0-fc6c-4e13-9ecd-834c981635df-c000.zstd.parquet", "application/vnd.apache.parquet", include_bytes!("data/flights-lake/tables/flights/origin=LGA/part-00000-763f51b0-fc6c-4e13-9ecd-834c981635df-c000.zstd.parquet")),
];
