//! The paths of a file: what stands in front of all of its routes, and the routes' own with their placeholders.

use valetkey_core::name::shortened;

use super::text::is_segment;

/// Reads what a file's routes start with.
pub(super) fn base_path(base: String) -> Result<String, String> {
    if base.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_plain)) {
        return Ok(base);
    }
    Err(format!(
        "`base` is `{}`; it starts with a slash, does not end with one, and has letters, digits and `-._~`",
        shortened(&base)
    ))
}

/// A path without the names of its placeholders.
pub(super) fn shape(path: &str) -> Vec<&str> {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect()
}

/// The placeholders of a path.
pub(super) fn placeholders(path: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let parts = path.strip_prefix('/').ok_or("`path` does not start with a slash")?;
    for part in parts.split('/') {
        let name = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match name {
            Some(name) if names.contains(&name) => return Err(format!("`path` has `{{{name}}}` twice")),
            Some(name) if is_name(name) => names.push(name),
            None if is_plain(part) => {}
            Some(_) | None => {
                return Err("`path` has letters, digits and `-._~`, and as a whole segment `{name}`, of letters, digits and `_`".to_owned());
            }
        }
    }
    Ok(names)
}

/// Whether a part of a path stands in URLs as it is.
fn is_plain(part: &str) -> bool {
    is_segment(part) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// Whether templates can name it.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
