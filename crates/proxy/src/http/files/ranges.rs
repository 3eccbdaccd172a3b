//! Range requests (RFC 9110, section 14): which bytes are wanted.

/// What a Range header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no ranges, ranges that are not understood, or more than is sensible.
    All,
    /// These ranges: first byte and length, in the order in which they were asked for.
    Ranges(Vec<(u64, u64)>),
    /// Nothing that exists: 416.
    Nothing,
}

/// Ranges in one request. More are answered with the whole file.
const MOST: usize = 64;

/// Reads a Range header for a file of this size.
pub(super) fn parse(value: &str, size: u64) -> Wanted {
    let Some(list) = value.trim().strip_prefix("bytes=") else { return Wanted::All };
    let mut ranges = Vec::new();
    let mut asked = 0;
    for item in list.split(',') {
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        asked += 1;
        let Some((first, last)) = item.split_once('-') else { return Wanted::All };
        let number = |text: &str| {
            let text = text.trim();
            (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
                .then(|| text.parse::<u64>().unwrap_or(u64::MAX))
        };
        let range = match (number(first), number(last)) {
            (Some(first), None) if last.trim().is_empty() => (first, u64::MAX),
            (Some(first), Some(last)) if first <= last => (first, last),
            (None, Some(suffix)) if first.trim().is_empty() => {
                if suffix == 0 {
                    continue;
                }
                (size.saturating_sub(suffix), u64::MAX)
            }
            _ => return Wanted::All,
        };
        if range.0 < size {
            ranges.push((range.0, range.1.min(size - 1) - range.0 + 1));
        }
    }
    if asked == 0 {
        return Wanted::All;
    }
    if ranges.is_empty() {
        return Wanted::Nothing;
    }
    // Many or overlapping ranges ask for more than the file: the whole is cheaper for everyone.
    let total = ranges.iter().fold(0u64, |sum, (_, length)| sum.saturating_add(*length));
    if ranges.len() > MOST || (ranges.len() > 1 && total > size) {
        return Wanted::All;
    }
    Wanted::Ranges(ranges)
}
