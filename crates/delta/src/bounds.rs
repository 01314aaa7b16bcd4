//! How deep what a log holds is nested, and how far it swells. The readers behind the kernel call themselves for every level
//! and take the memory that a page says it needs; a stack that ends takes the server with it, and so does memory. What goes
//! beyond any log is refused before they see it.

use delta_kernel::parquet::basic::Compression;
use delta_kernel::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

/// Levels that a log may have: readers of JSON stop at 128 themselves, and a schema of a table nests a few.
const MOST: usize = 100;

/// Whether no text of JSON in these bytes is nested too deep. Bytes that are no JSON are not judged.
pub(crate) fn is_shallow(json: &[u8]) -> bool {
    let (mut depth, mut in_text, mut is_escaped) = (0usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MOST {
            return false;
        }
    }
    true
}

/// Whether the schema in a parquet file's footer is nested no deeper than a log's, and says of no group that it has more
/// columns than there are: the reader takes memory for as many as are said. What cannot be read as a footer is refused.
pub(crate) fn is_sound_parquet(file: &[u8]) -> bool {
    let footer = || {
        let (rest, magic) = file.split_last_chunk::<4>()?;
        let (rest, length) = rest.split_last_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let footer = rest.get(rest.len().checked_sub(length)?..)?;
        (magic == b"PAR1").then_some(footer)
    };
    footer().and_then(|footer| Thrift(footer).footer()).is_some()
}

/// Bytes that a page of a column may have when it is unpacked; writers aim at one MiB.
const MOST_PAGE: u64 = 32 * 1024 * 1024;
/// Bytes that a page packed with gzip may have: its reader unpacks as much as there is, at most about 1032 times as much.
const MOST_GZIP: u64 = 512 * 1024;

/// Whether no page of a parquet file swells beyond all measure.
pub(crate) fn has_small_pages(file: &[u8], metadata: &ParquetMetaData) -> bool {
    metadata.row_groups().iter().flat_map(RowGroupMetaData::columns).all(|column| {
        let start = column.dictionary_page_offset().filter(|offset| *offset > 0).unwrap_or(column.data_page_offset());
        let pages = || {
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(column.compressed_size()).ok()?)?;
            Thrift(file.get(start..end)?).pages(column.compression())
        };
        pages().is_some()
    })
}

/// Thrift's compact protocol, as far as a footer needs it. Source: `thrift-compact-protocol.md` of Apache Thrift.
struct Thrift<'b>(&'b [u8]);

const END: u8 = 0;
const BOOLEANS: [u8; 2] = [1, 2];
const I32: u8 = 5;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

impl Thrift<'_> {
    fn take(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        // The longest has ten bytes; its last adds the highest bit.
        (self.byte()? <= 1).then_some(value)
    }

    /// The next field of a struct: its type, which is 0 at the end of the struct, and its number.
    fn field(&mut self, last: i64) -> Option<(u8, i64)> {
        let head = self.byte()?;
        let number = match (head & 0x0f, head >> 4) {
            (0, _) => last,
            (_, 0) => self.varint().map(|zigzag| (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed()))?,
            (_, step) => last.checked_add(i64::from(step))?,
        };
        Some((head & 0x0f, number))
    }

    /// The type and the number of a list's elements.
    fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let count = if head >> 4 == 0x0f { self.varint()? } else { u64::from(head >> 4) };
        Some((head & 0x0f, count))
    }

    fn skip(&mut self, kind: u8, in_list: bool, levels: usize) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        match kind {
            _ if BOOLEANS.contains(&kind) => self.take(u64::from(in_list)),
            3 => self.take(1),
            4..=6 => self.varint().map(drop),
            7 => self.take(8),
            BINARY => self.varint().and_then(|length| self.take(length)),
            LIST | 10 => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.skip(kind, true, levels))
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.skip(kinds >> 4, true, levels)?;
                    self.skip(kinds & 0x0f, true, levels)
                })
            }
            STRUCT => {
                let mut last = 0;
                loop {
                    let (kind, number) = self.field(last)?;
                    if kind == END {
                        return Some(());
                    }
                    last = number;
                    self.skip(kind, false, levels)?;
                }
            }
            13 => self.take(16),
            _ => None,
        }
    }

    /// How many columns an element of the schema has below it.
    fn children(&mut self) -> Option<u64> {
        let (mut last, mut children) = (0, 0);
        loop {
            let (kind, number) = self.field(last)?;
            if kind == END {
                return Some(children);
            }
            // In rising order, so that no field is there twice.
            if number <= last {
                return None;
            }
            last = number;
            if number == 5 {
                let zigzag = (kind == I32).then(|| self.varint())??;
                children = (zigzag & 1 == 0 && u32::try_from(zigzag).is_ok()).then_some(zigzag >> 1)?;
            } else {
                self.skip(kind, false, MOST)?;
            }
        }
    }

    /// Reads the heads of a column's pages; nothing if one is not sound.
    fn pages(mut self, compression: Compression) -> Option<()> {
        let most_packed = match compression {
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) | Compression::LZ4_RAW => MOST_PAGE,
            Compression::GZIP(_) => MOST_GZIP,
            Compression::LZO | Compression::BROTLI(_) | Compression::LZ4 => return None,
        };
        while !self.0.is_empty() {
            let (mut last, mut unpacked, mut packed) = (0, None, None);
            loop {
                let (kind, number) = self.field(last)?;
                if kind == END {
                    break;
                }
                if number <= last {
                    return None;
                }
                last = number;
                match number {
                    2 => unpacked = Some((kind == I32).then(|| self.varint())??),
                    3 => packed = Some((kind == I32).then(|| self.varint())??),
                    _ => self.skip(kind, false, MOST)?,
                }
            }
            let (unpacked, packed) = (unpacked?, packed?);
            // Twice the number, and one more if it is less than nothing.
            let fits = |zigzag: u64, most: u64| zigzag & 1 == 0 && zigzag >> 1 <= most;
            if !fits(unpacked, MOST_PAGE) || !fits(packed, most_packed) {
                return None;
            }
            self.take(packed >> 1)?;
        }
        Some(())
    }

    /// Reads a footer to its end; nothing if it is not sound.
    fn footer(mut self) -> Option<()> {
        let mut last = 0;
        loop {
            let (kind, number) = self.field(last)?;
            if kind == END {
                return Some(());
            }
            if number <= last {
                return None;
            }
            last = number;
            if number != 2 {
                self.skip(kind, false, MOST)?;
                continue;
            }
            let (element, count) = (kind == LIST).then(|| self.list())??;
            let mut open: Vec<u64> = Vec::new();
            for _ in 0..count {
                while open.pop_if(|left| *left == 0).is_some() {}
                if let Some(left) = open.last_mut() {
                    *left -= 1;
                }
                let children = (element == STRUCT).then(|| self.children())??;
                if children > count || open.len() >= MOST {
                    return None;
                }
                open.push(children);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use delta_kernel::arrow::array::{ArrayRef, RecordBatch, StringArray};
    use delta_kernel::parquet::arrow::ArrowWriter;
    use delta_kernel::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
    use delta_kernel::parquet::basic::{BrotliLevel, GzipLevel, ZstdLevel};
    use delta_kernel::parquet::file::properties::WriterProperties;

    use super::*;

    #[test]
    fn only_what_is_nested_deep_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[{\"a\":".repeat(levels / 2), "}]".repeat(levels / 2));
        assert!(is_shallow(nested(100).as_bytes()));
        assert!(!is_shallow(nested(102).as_bytes()));
        assert!(!is_shallow("{".repeat(101).as_bytes()));
        assert!(is_shallow("{}\n".repeat(1000).as_bytes()), "lines stand beside each other");
        assert!(is_shallow(format!("\"\\\"{}\\\\\"", "[".repeat(1000)).as_bytes()), "a text is no nesting");
        assert!(!is_shallow(format!("\"\\\\\"{}", "[".repeat(1000)).as_bytes()));
    }

    /// A parquet file of nothing but a schema, each element with so many columns below it.
    pub(crate) fn file(children: &[u32]) -> Vec<u8> {
        let varint = |mut value: u64| {
            let mut bytes = Vec::new();
            while value > 0x7f {
                bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
                value >>= 7;
            }
            bytes.push(u8::try_from(value).unwrap());
            bytes
        };
        // version: i32 = 1; schema: a list of structs with repetition_type, name and num_children.
        let mut footer = vec![0x15, 2, 0x19, 0xfc];
        footer.extend(varint(children.len() as u64));
        for count in children {
            footer.extend([0x35, 2, 0x18, 1, b'x', 0x15]);
            footer.extend(varint(u64::from(*count) << 1));
            footer.push(0);
        }
        // num_rows: i64 = 0; row_groups: none.
        footer.extend([0x16, 0, 0x19, 0x0c, 0]);
        let length = u32::try_from(footer.len()).unwrap();
        [b"PAR1", footer.as_slice(), &length.to_le_bytes(), b"PAR1"].concat()
    }

    #[test]
    fn footers_that_would_end_the_stack_or_the_memory_are_refused() {
        assert!(is_sound_parquet(&file(&[2, 0, 1, 0])));
        assert!(is_sound_parquet(&file(&[vec![1; 98], vec![0]].concat())));
        assert!(is_sound_parquet(&file(&[vec![1000], vec![0; 1000]].concat())), "beside each other");
        assert!(!is_sound_parquet(&file(&[vec![1; 200], vec![0]].concat())));
        assert!(!is_sound_parquet(&file(&[1, u32::MAX >> 2])));
        for bad in [&b""[..], b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\xffPAR1", b"\x00\0\0\0\0PARE"] {
            assert!(!is_sound_parquet(bad));
        }
        let good = file(&[2, 0, 1, 0]);
        for cut in 1..good.len() - 12 {
            let mut bytes = good.clone();
            bytes.drain(4..4 + cut);
            is_sound_parquet(&bytes);
        }
    }

    #[test]
    fn real_checkpoints_are_sound() {
        let path = "tests/tables/history/_delta_log/00000000000000000004.checkpoint.parquet";
        let bytes = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        assert!(is_sound_parquet(&bytes) && has_small_pages(&bytes, &loaded(&bytes)));
    }

    fn loaded(file: &[u8]) -> ParquetMetaData {
        let bytes = bytes::Bytes::copy_from_slice(file);
        let loaded = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).unwrap();
        loaded.metadata().as_ref().clone()
    }

    fn written(text: &str, compression: Compression) -> Vec<u8> {
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
        let properties = WriterProperties::builder().set_compression(compression).set_dictionary_enabled(false).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn pages_that_swell_beyond_measure_are_refused() {
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let gzip = Compression::GZIP(GzipLevel::default());
        let judged = |text: &str, compression| {
            let file = written(text, compression);
            assert!(is_sound_parquet(&file));
            has_small_pages(&file, &loaded(&file))
        };
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd, gzip, Compression::LZ4_RAW] {
            assert!(judged("a", compression), "{compression:?}");
            assert!(judged(&"a".repeat(1 << 20), compression), "{compression:?}");
        }
        let bomb = "a".repeat(33 << 20);
        assert!(written(&bomb, zstd).len() < 20_000);
        assert!(!judged(&bomb, zstd));
        assert!(!judged("a", Compression::BROTLI(BrotliLevel::default())));

        let mut lying = written("a", zstd);
        let good = loaded(&lying);
        // The head of the first page: its type, then what it says it is when unpacked, as 21 and a number.
        assert_eq!(lying[4..7], [0x15, 0, 0x15]);
        lying.splice(7..8, [0xfe, 0xff, 0xff, 0xff, 0x0f]);
        assert!(!has_small_pages(&lying, &good), "two gibibytes");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let length = u32::try_from(bytes.len()).unwrap();
            is_sound_parquet(&[bytes.as_slice(), &length.to_le_bytes(), b"PAR1"].concat());
            is_shallow(&bytes);
        }
    }
}
