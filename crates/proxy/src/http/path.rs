//! The one form of a path that hosts, routes, policies and files all look at (invariant: what was authorized
//! is what is served). Percent escapes are decoded once, `//` becomes `/`, dot segments are resolved; a path
//! that leaves the root, or that servers behind us are known to read differently, is refused.
//!
//! What goes upstream unchanged is decided here too: see [`Normalized::dotted`].

use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// A path in its one form.
#[derive(Debug, PartialEq, Eq)]
pub struct Normalized<'a> {
    /// Decoded, merged, resolved. Borrowed where the raw path was in this form already.
    pub path: Cow<'a, str>,
    /// Dot segments were resolved. Such a path never goes upstream as it came: `/admin%2F..%2Fopen` is
    /// authorized as `/open`, so the application must see `/open` too.
    pub dotted: bool,
}

/// Why a path is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with /")]
    Relative,
    /// More `..` than folders above.
    #[error("the path leaves the root")]
    Escapes,
    /// A `%` that two hexadecimal digits do not follow.
    #[error("the path has a broken percent escape")]
    Escape,
    /// A NUL byte, plain or escaped.
    #[error("the path has a NUL byte")]
    Nul,
    /// `..;` or `..\`: a dot segment to some servers and a name to others.
    #[error("the path has an ambiguous dot segment")]
    Ambiguous,
}

/// Where bytes of a path that are not UTF-8 are kept: each as the character of this plane that ends in it, so that
/// a path stays text, and yet goes to files and applications as the bytes that came. The characters of that
/// range are taken apart themselves, so that no two requests become one path.
const RAW: u32 = 0x10_FF00;

/// The byte that a character of a path stands for, where it stands for one that is not UTF-8.
fn raw_byte(character: char) -> Option<u8> {
    u8::try_from(u32::from(character).checked_sub(RAW)?).ok().filter(|byte| *byte >= 0x80)
}

/// Whether a text can hold such characters at all.
fn may_hold_raw(text: &str) -> bool {
    text.as_bytes().contains(&0xf4)
}

/// A path as text for people and headers: bytes that are not UTF-8 are percent escapes.
pub fn shown(path: &str) -> Cow<'_, str> {
    if !may_hold_raw(path) {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    for character in path.chars() {
        match raw_byte(character) {
            Some(byte) => out.push_str(&format!("%{byte:02X}")),
            None => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// A path as the bytes that the file system knows it by.
pub fn bytes(path: &str) -> Cow<'_, [u8]> {
    if !may_hold_raw(path) {
        return Cow::Borrowed(path.as_bytes());
    }
    let mut out = Vec::with_capacity(path.len());
    for character in path.chars() {
        match raw_byte(character) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(out)
}

/// Brings a raw path (without its query) into the one form.
pub fn normalize(raw: &str) -> Result<Normalized<'_>, PathError> {
    if !raw.starts_with('/') {
        return Err(PathError::Relative);
    }
    if is_plain(raw.as_bytes()) {
        return Ok(Normalized { path: Cow::Borrowed(raw), dotted: false });
    }
    let decoded = decode(raw)?;
    let (path, dotted) = resolve(&decoded)?;
    Ok(Normalized { path: Cow::Owned(path), dotted })
}

/// Brings a path that was put together here (a rewrite, an error page, an index) into the one form, without
/// decoding it again: `/b/$1` must not become `/b/../etc` because of what was captured.
pub fn normalize_decoded(path: &str) -> Result<String, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::Relative);
    }
    if path.as_bytes().contains(&0) {
        return Err(PathError::Nul);
    }
    resolve(path).map(|(path, _)| path)
}

/// Whether nothing has to be done: no escape, no `//`, no segment that begins with a dot, no NUL.
fn is_plain(raw: &[u8]) -> bool {
    let mut before = b' ';
    for &byte in raw {
        if byte == b'%' || byte == 0 || byte == 0xf4 || (before == b'/' && (byte == b'/' || byte == b'.')) {
            return false;
        }
        before = byte;
    }
    true
}

/// Decodes percent escapes once.
fn decode(raw: &str) -> Result<String, PathError> {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3).ok_or(PathError::Escape)?;
                let value = (hex(digits[0])? << 4) | hex(digits[1])?;
                if value == 0 {
                    return Err(PathError::Nul);
                }
                out.push(value);
                at += 3;
            }
            0 => return Err(PathError::Nul),
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(from_bytes(out))
}

fn hex(digit: u8) -> Result<u8, PathError> {
    (digit as char).to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or(PathError::Escape)
}

/// Bytes as text, see [`RAW`].
fn from_bytes(bytes: Vec<u8>) -> String {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) if !may_hold_raw(&text) || text.chars().all(|c| raw_byte(c).is_none()) => return text,
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    };
    let raw = |byte: u8| char::from_u32(RAW + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut out = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match raw_byte(character) {
                Some(_) => out.extend(character.encode_utf8(&mut [0; 4]).bytes().map(raw)),
                None => out.push(character),
            }
        }
        out.extend(chunk.invalid().iter().map(|byte| raw(*byte)));
    }
    out
}

/// Merges slashes and resolves dot segments; says whether there were any.
fn resolve(path: &str) -> Result<(String, bool), PathError> {
    let mut out = String::with_capacity(path.len());
    let mut dotted = false;
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" | "." => {
                dotted |= segment == ".";
                if last {
                    out.push('/');
                }
            }
            ".." => {
                dotted = true;
                let parent = out.rfind('/').ok_or(PathError::Escapes)?;
                out.truncate(parent);
                if last {
                    out.push('/');
                }
            }
            name => {
                if is_ambiguous(name) {
                    return Err(PathError::Ambiguous);
                }
                out.push('/');
                out.push_str(name);
            }
        }
    }
    Ok((out, dotted))
}

/// Path parameters after dots (`..;x`, Tomcat) and backslashes around them (Windows) are resolved by some
/// servers behind us, after we took them for names.
fn is_ambiguous(segment: &str) -> bool {
    segment.starts_with("..;")
        || segment.starts_with(".;")
        || segment.starts_with("..\\")
        || segment.ends_with("\\..")
        || segment.contains("\\..\\")
}

/// Encodes a path for a request line or a Location: all that RFC 3986 does not allow in a path, and `%`, `?`
/// and `#`, which would change its meaning.
pub fn encode(path: &str) -> Cow<'_, str> {
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'/' | b'-'
                    | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
                    | b':'
                    | b'@'
            )
    };
    escape_where(path, |byte| !allowed(byte))
}

/// Encodes what may not stand in a Location header (control characters, spaces, quotes, non-ASCII), and
/// leaves the rest as written: for redirects whose target a person wrote with variables.
pub fn encode_location(location: &str) -> Cow<'_, str> {
    escape_where(location, |byte| byte <= b' ' || byte >= 0x7f || byte == b'"' || byte == b'\\')
}

/// Encodes all but the unreserved characters of RFC 3986 (nginx's `NGX_ESCAPE_URI_COMPONENT`).
pub fn encode_component(text: &str) -> Cow<'_, str> {
    escape_where(text, |byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')))
}

/// Encodes a path's part for a place in a query (nginx's `NGX_ESCAPE_ARGS`).
pub fn encode_argument(text: &str) -> Cow<'_, str> {
    escape_where(text, |byte| byte <= b' ' || byte >= 0x7f || b"\"#%&+;<>?\\^`{|}".contains(&byte))
}

fn escape_where(text: &str, escape: impl Fn(u8) -> bool) -> Cow<'_, str> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if !text.bytes().any(&escape) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    // Escaped bytes are ASCII in the output; unescaped bytes are ASCII or whole characters of the input.
    for character in text.chars() {
        let mut buffer = [0; 4];
        let raw = raw_byte(character).map(|byte| [byte]);
        let encoded = character.encode_utf8(&mut buffer).as_bytes();
        for &byte in raw.as_ref().map_or(encoded, |raw| &raw[..]) {
            if escape(byte) {
                out.push('%');
                out.push(DIGITS[usize::from(byte >> 4)] as char);
                out.push(DIGITS[usize::from(byte & 15)] as char);
            } else if character.is_ascii() {
                out.push(character);
            }
        }
    }
    Cow::Owned(out)
}
