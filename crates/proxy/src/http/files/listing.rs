//! A folder as a page. Names are escaped for HTML and for URLs; hidden files are left out.

use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::http::path;

/// Entries that are listed at most.
const MOST: usize = 10_000;

/// The page of a folder.
pub(super) fn page(folder: &Path, shown: &str) -> std::io::Result<String> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(MOST) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
        entries.push((!metadata.is_dir(), name, metadata));
    }
    entries.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let title = html(&path::shown(shown));
    let mut out = format!(
        "<html>\r\n<head><title>Index of {title}</title></head>\r\n<body>\r\n<h1>Index of {title}</h1><hr><pre><a href=\"../\">../</a>\r\n"
    );
    for (is_file, name, metadata) in entries {
        let slash = if is_file { "" } else { "/" };
        let seconds = metadata
            .modified()
            .ok()
            .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |d| d.as_secs());
        let date = time::OffsetDateTime::from_unix_timestamp(seconds.cast_signed())
            .ok()
            .and_then(|t| {
                let form =
                    time::macros::format_description!("[day]-[month repr:short]-[year] [hour]:[minute]");
                t.format(form).ok()
            })
            .unwrap_or_default();
        let size = if is_file { metadata.len().to_string() } else { "-".to_owned() };
        let width = 51usize.saturating_sub(name.chars().count() + slash.len());
        // A name with a colon is no URL scheme.
        let prefix = if name.contains(':') { "./" } else { "" };
        out.push_str(&format!(
            "<a href=\"{prefix}{}{slash}\">{}{slash}</a>{:width$}{date} {size:>19}\r\n",
            path::encode(&name),
            html(&name),
            "",
        ));
    }
    out.push_str("</pre><hr></body>\r\n</html>\r\n");
    Ok(out)
}

/// Text in HTML.
fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
