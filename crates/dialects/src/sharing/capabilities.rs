//! What a client says it can read, and in which form a table is told to it.

use http::{HeaderMap, HeaderName, HeaderValue};
use valetkey_core::name::shortened;
use valetkey_core::nouns::table::{TableMetadata, TableProtocol, TableSnapshot};
use valetkey_core::{Error, Kind};

/// The header, in requests and answers.
pub(super) const HEADER: HeaderName = HeaderName::from_static("delta-sharing-capabilities");
/// The header that chooses how the ids of files are made, in requests and answers.
pub(super) const FILE_IDS: HeaderName = HeaderName::from_static("fileidhash");

/// The form of an answer's lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// The protocol's own words.
    Parquet,
    /// The actions of the Delta log.
    Delta,
}

impl Format {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Delta => "delta",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Parquet, Self::Delta].into_iter().find(|format| format.as_str() == text)
    }
}

/// What a client says it can read.
#[derive(Clone, Debug, Default)]
pub(super) struct Capabilities {
    formats: Vec<Format>,
    features: Vec<String>,
    /// Whether it wants a last line that says the answer is whole.
    pub(super) end: bool,
}

/// Features of a table that concern its log, which recipients of files never see.
const OF_THE_LOG: [&str; 3] = ["v2checkpoint", "vacuumprotocolcheck", "inCommitTimestamp"];
/// Features that the files' own format carries: whoever reads nothing but Parquet is told such a table all the same, and whoever
/// reads either form is told it in `delta`, because the columns of the other have no such type.
const OF_THE_FILES: [&str; 1] = ["timestampntz"];

fn is_any(list: &[&str], feature: &str) -> bool {
    list.iter().any(|own| own.eq_ignore_ascii_case(feature))
}

impl Capabilities {
    /// Reads the header. What is not known in it is passed over, as the protocol demands.
    ///
    /// # Errors
    /// `Invalid` when none of the formats asked for is known.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Error> {
        let mut read = Self::default();
        for value in headers.get_all(HEADER) {
            let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
            for (name, value) in text.split(';').filter_map(|pair| pair.split_once('=')) {
                let values = || value.split(',').map(str::trim).filter(|one| !one.is_empty());
                match name.trim() {
                    "responseformat" => {
                        read.formats = values().filter_map(Format::parse).collect();
                        if read.formats.is_empty() {
                            let said = format!("`{}` has no known response format", shortened(value));
                            return Err(Error::new(Kind::Invalid, said).at("responseformat"));
                        }
                    }
                    "readerfeatures" => read.features = values().map(ToOwned::to_owned).collect(),
                    "includeendstreamaction" => read.end = value.trim() == "true",
                    _ => {}
                }
            }
        }
        Ok(read)
    }

    /// The form to tell a table in, in all the states of it that an answer has rows of.
    ///
    /// # Errors
    /// `Unsupported` when the client cannot read the table in a form it asked for.
    pub(super) fn format<'t>(&self, states: impl IntoIterator<Item = State<'t>>) -> Result<Format, Error> {
        let (mut advanced, mut has_new_types) = (Vec::new(), false);
        for state in states {
            let features = state.advanced().into_iter().filter(|own| !advanced.contains(own)).collect::<Vec<_>>();
            advanced.extend(features);
            has_new_types |= state.protocol.reader_features.iter().flatten().any(|own| is_any(&OF_THE_FILES, own));
        }
        let both = self.formats.contains(&Format::Parquet) && self.formats.contains(&Format::Delta);
        let format = match self.formats.first() {
            None => Format::Parquet,
            Some(_) if both && advanced.is_empty() && !has_new_types => Format::Parquet,
            Some(_) if both => Format::Delta,
            Some(only) => *only,
        };
        let unread = |what: &str| {
            let said = format!(
                "the table uses {}, which {what}; ask with `responseformat=delta` and the features among `readerfeatures`",
                advanced.join(", ")
            );
            Err(Error::new(Kind::Unsupported, said))
        };
        match format {
            Format::Parquet if !advanced.is_empty() => unread("an answer in the format `parquet` cannot tell"),
            Format::Delta if advanced.iter().any(|own| !is_any(&self.read_features(), own)) => {
                unread("the client does not say it can read")
            }
            Format::Parquet | Format::Delta => Ok(format),
        }
    }

    /// Refuses a file some of whose rows are gone where the form or the client does not know of that.
    pub(super) fn check_vector(&self, format: Format, has_vector: bool) -> Result<(), Error> {
        if has_vector && (format == Format::Parquet || !is_any(&self.read_features(), "deletionVectors")) {
            let said =
                "the table uses deletionVectors; ask with `responseformat=delta` and `readerfeatures=deletionvectors`";
            return Err(Error::new(Kind::Unsupported, said));
        }
        Ok(())
    }

    fn read_features(&self) -> Vec<&str> {
        self.features.iter().map(String::as_str).collect()
    }

    /// The header of the answer.
    pub(super) fn answered(&self, format: Format) -> HeaderValue {
        HeaderValue::from_static(match (format, self.end) {
            (Format::Parquet, false) => "responseformat=parquet",
            (Format::Parquet, true) => "responseformat=parquet;includeendstreamaction=true",
            (Format::Delta, false) => "responseformat=delta",
            (Format::Delta, true) => "responseformat=delta;includeendstreamaction=true",
        })
    }
}

/// What a table is at some version.
#[derive(Clone, Copy)]
pub(super) struct State<'t> {
    pub(super) protocol: &'t TableProtocol,
    pub(super) metadata: &'t TableMetadata,
}

impl<'t> From<&'t TableSnapshot> for State<'t> {
    fn from(table: &'t TableSnapshot) -> Self {
        Self { protocol: &table.protocol, metadata: &table.metadata }
    }
}

impl State<'_> {
    /// What a reader of the table's files must know beside Parquet.
    fn advanced(self) -> Vec<String> {
        let set = |property: &str| self.metadata.configuration.get(property).map(String::as_str).unwrap_or_default();
        let mut found: Vec<String> = Vec::new();
        if maps_columns(self.metadata) {
            found.push("columnMapping".to_owned());
        }
        if set("delta.enableDeletionVectors").eq_ignore_ascii_case("true") {
            found.push("deletionVectors".to_owned());
        }
        for feature in self.protocol.reader_features.iter().flatten() {
            let enabled_above = is_any(&["columnMapping", "deletionVectors"], feature);
            if !enabled_above && !is_any(&OF_THE_LOG, feature) && !is_any(&OF_THE_FILES, feature) {
                found.push(feature.clone());
            }
        }
        found
    }
}

/// Whether the names in the table's files are others than those of its columns.
pub(super) fn maps_columns(table: &TableMetadata) -> bool {
    let mode = table.configuration.get("delta.columnMapping.mode");
    mode.is_some_and(|mode| !mode.is_empty() && !mode.eq_ignore_ascii_case("none"))
}

/// What a recipient must know, without what concerns the log only.
pub(super) fn of_the_files(protocol: &TableProtocol) -> TableProtocol {
    let kept = |features: &Option<Vec<String>>| {
        features.as_ref().map(|list| list.iter().filter(|own| !is_any(&OF_THE_LOG, own)).cloned().collect())
    };
    TableProtocol {
        min_reader_version: protocol.min_reader_version,
        min_writer_version: protocol.min_writer_version,
        reader_features: kept(&protocol.reader_features),
        writer_features: kept(&protocol.writer_features),
    }
}

/// How the ids of files are made, if the client says.
///
/// # Errors
/// `Invalid` when it says something unknown.
pub(super) fn file_ids(headers: &HeaderMap) -> Result<Option<Format>, Error> {
    let Some(value) = headers.get(FILE_IDS) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim().to_ascii_lowercase();
    Format::parse(&text).map(Some).ok_or_else(|| {
        let said = format!("`{}` is not a known `fileidhash`; there are `parquet` and `delta`", shortened(&text));
        Error::new(Kind::Invalid, said).at("fileidhash")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn table(features: &[&str], configuration: &[(&str, &str)]) -> TableSnapshot {
        let features: Vec<String> = features.iter().map(|text| (*text).to_owned()).collect();
        TableSnapshot {
            version: 1,
            protocol: TableProtocol {
                min_reader_version: 3,
                min_writer_version: 7,
                reader_features: Some(features.clone()),
                writer_features: Some(features),
            },
            metadata: TableMetadata {
                id: "id".to_owned(),
                name: None,
                description: None,
                format_provider: "parquet".to_owned(),
                format_options: BTreeMap::new(),
                schema: "{}".to_owned(),
                partition_columns: Vec::new(),
                configuration: configuration.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
                created_ms: None,
            },
            size: None,
            files: None,
        }
    }

    fn chosen(header: &str, table: &TableSnapshot) -> Result<Format, String> {
        let mut headers = HeaderMap::new();
        if !header.is_empty() {
            headers.insert(HEADER, HeaderValue::from_str(header).unwrap());
        }
        Capabilities::read(&headers).and_then(|read| read.format([table.into()])).map_err(|error| error.to_string())
    }

    #[test]
    fn the_form_is_one_the_client_reads() {
        let plain = table(&["v2Checkpoint", "deletionVectors"], &[]);
        let without_zone = table(&["timestampNtz", "v2Checkpoint"], &[]);
        let deleting = table(&["deletionVectors"], &[("delta.enableDeletionVectors", "true")]);
        let mapping = table(&[], &[("delta.columnMapping.mode", "name")]);
        let newer = table(&["variantType"], &[]);
        for (header, of, wanted) in [
            ("", &plain, Some(Format::Parquet)),
            ("x=y;responseformat=PARQUET", &plain, Some(Format::Parquet)),
            ("responseformat=delta", &plain, Some(Format::Delta)),
            ("responseformat=delta,parquet", &plain, Some(Format::Parquet)),
            ("", &without_zone, Some(Format::Parquet)),
            ("responseformat=parquet", &without_zone, Some(Format::Parquet)),
            ("responseformat=delta", &without_zone, Some(Format::Delta)),
            ("responseformat=delta,parquet", &without_zone, Some(Format::Delta)),
            (
                "responseformat=parquet,delta;readerfeatures=deletionvectors,columnmapping,timestampntz",
                &without_zone,
                Some(Format::Delta),
            ),
            ("responseformat=kernel", &plain, None),
            ("responseformat=kernel,delta", &plain, Some(Format::Delta)),
            ("", &deleting, None),
            ("responseformat=parquet", &mapping, None),
            ("responseformat=delta", &deleting, None),
            ("responseformat=delta;readerfeatures=columnmapping", &deleting, None),
            (
                "responseformat=delta,parquet;readerFeatures=DeletionVectors,columnmapping",
                &deleting,
                Some(Format::Delta),
            ),
            ("responseformat=delta,parquet;readerfeatures=columnmapping", &mapping, Some(Format::Delta)),
            ("responseformat=delta;readerfeatures=deletionvectors", &newer, None),
        ] {
            assert_eq!(chosen(header, of).ok(), wanted, "{header}");
        }
        assert_eq!(of_the_files(&without_zone.protocol).reader_features.unwrap(), ["timestampNtz"]);
        assert_eq!(of_the_files(&plain.protocol).reader_features.unwrap(), ["deletionVectors"]);
    }
}
