//! How the ledger's entries are written into a page, each with its length before it, and read back.

/// Writes a text with its length before it; of a longer one than 255 bytes what fits, and whole characters.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_bytes(text.get(..text.floor_char_boundary(usize::from(u8::MAX))).unwrap_or_default().as_bytes(), out);
}

/// Writes at most 255 bytes with their number before them.
pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

/// Writes something with its length, which is known only afterwards, before it.
pub(super) fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let len = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(start..start + 4) {
        slot.copy_from_slice(&len.to_be_bytes());
    }
}

pub(super) fn take_framed<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = from.split_first_chunk::<4>()?;
    let (entry, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    *from = rest;
    Some(entry)
}

pub(super) fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}

pub(super) fn take_text(from: &mut &[u8]) -> Option<String> {
    String::from_utf8(take_bytes(from)?.to_vec()).ok()
}

pub(super) fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [len] = take::<1>(from)?;
    let (bytes, rest) = from.split_at_checked(usize::from(len))?;
    *from = rest;
    Some(bytes)
}
