//! Content types by the suffix of a file's name: the route's own table, then nginx's `mime.types`.

use std::collections::{BTreeMap, HashMap};

use http::HeaderValue;
use model::snapshot::Files;

/// The table of one route.
#[derive(Clone, Debug, Default)]
pub struct Types {
    own: HashMap<String, HeaderValue>,
    builtin: bool,
    default: Option<HeaderValue>,
}

impl Types {
    /// The table of a route with files.
    pub(super) fn new(files: &Files) -> Self {
        let default = files.default_type.as_deref().and_then(|kind| HeaderValue::try_from(kind).ok());
        Self { default, ..Self::table(&files.types, files.builtin_types) }
    }

    /// A table without a default.
    pub fn table(types: &BTreeMap<String, String>, builtin: bool) -> Self {
        let own = types.iter().filter_map(|(suffix, kind)| {
            Some((suffix.to_ascii_lowercase(), HeaderValue::try_from(kind.as_str()).ok()?))
        });
        Self { own: own.collect(), builtin, default: None }
    }

    pub(super) fn default_type(&self) -> Option<HeaderValue> {
        self.default.clone()
    }

    /// The type of what a path names, where its suffix says it. The path counts and not the file behind it, as in
    /// nginx: `location /one { alias two.html; }` has no suffix.
    pub fn find(&self, path: &str) -> Option<HeaderValue> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let (_, suffix) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
        let suffix = suffix.to_ascii_lowercase();
        self.own.get(&suffix).cloned().or_else(|| {
            let kind = if self.builtin { builtin(&suffix) } else { None };
            kind.map(HeaderValue::from_static)
        })
    }

    /// The type of what a path names.
    pub(super) fn of(&self, path: &str) -> HeaderValue {
        let default = || self.default.clone().unwrap_or(HeaderValue::from_static("application/octet-stream"));
        self.find(path).unwrap_or_else(default)
    }
}

/// The built-in table: Debian's nginx `mime.types`, and what came up since.
fn builtin(suffix: &str) -> Option<&'static str> {
    Some(match suffix {
        "html" | "htm" | "shtml" => "text/html",
        "css" => "text/css",
        "xml" => "text/xml",
        "gif" => "image/gif",
        "jpeg" | "jpg" => "image/jpeg",
        "js" | "mjs" | "cjs" => "application/javascript",
        "atom" => "application/atom+xml",
        "rss" => "application/rss+xml",
        "mml" => "text/mathml",
        "txt" => "text/plain",
        "jad" => "text/vnd.sun.j2me.app-descriptor",
        "wml" => "text/vnd.wap.wml",
        "htc" => "text/x-component",
        "avif" => "image/avif",
        "png" => "image/png",
        "svg" | "svgz" => "image/svg+xml",
        "tif" | "tiff" => "image/tiff",
        "wbmp" => "image/vnd.wap.wbmp",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "jng" => "image/x-jng",
        "bmp" => "image/x-ms-bmp",
        "heic" => "image/heic",
        "jxl" => "image/jxl",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "jar" | "war" | "ear" => "application/java-archive",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "hqx" => "application/mac-binhex40",
        "doc" => "application/msword",
        "pdf" => "application/pdf",
        "ps" | "eps" | "ai" => "application/postscript",
        "rtf" => "application/rtf",
        "m3u8" => "application/vnd.apple.mpegurl",
        "kml" => "application/vnd.google-earth.kml+xml",
        "kmz" => "application/vnd.google-earth.kmz",
        "xls" => "application/vnd.ms-excel",
        "eot" => "application/vnd.ms-fontobject",
        "ppt" => "application/vnd.ms-powerpoint",
        "odg" => "application/vnd.oasis.opendocument.graphics",
        "odp" => "application/vnd.oasis.opendocument.presentation",
        "ods" => "application/vnd.oasis.opendocument.spreadsheet",
        "odt" => "application/vnd.oasis.opendocument.text",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "wmlc" => "application/vnd.wap.wmlc",
        "wasm" => "application/wasm",
        "7z" => "application/x-7z-compressed",
        "cco" => "application/x-cocoa",
        "jardiff" => "application/x-java-archive-diff",
        "jnlp" => "application/x-java-jnlp-file",
        "run" => "application/x-makeself",
        "pl" | "pm" => "application/x-perl",
        "prc" | "pdb" => "application/x-pilot",
        "rar" => "application/x-rar-compressed",
        "rpm" => "application/x-redhat-package-manager",
        "sea" => "application/x-sea",
        "swf" => "application/x-shockwave-flash",
        "sit" => "application/x-stuffit",
        "tcl" | "tk" => "application/x-tcl",
        "der" | "pem" | "crt" => "application/x-x509-ca-cert",
        "xpi" => "application/x-xpinstall",
        "xhtml" => "application/xhtml+xml",
        "xspf" => "application/xspf+xml",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "bin" | "exe" | "dll" | "deb" | "dmg" | "iso" | "img" | "msi" | "msp" | "msm" => {
            "application/octet-stream"
        }
        "mid" | "midi" | "kar" => "audio/midi",
        "mp3" => "audio/mpeg",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "m4a" => "audio/x-m4a",
        "ra" => "audio/x-realaudio",
        "flac" => "audio/flac",
        "wav" => "audio/wav",
        "3gpp" | "3gp" => "video/3gpp",
        "ts" => "video/mp2t",
        "mp4" => "video/mp4",
        "mpeg" | "mpg" => "video/mpeg",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        "flv" => "video/x-flv",
        "m4v" => "video/x-m4v",
        "mkv" => "video/x-matroska",
        "mng" => "video/x-mng",
        "asx" | "asf" => "video/x-ms-asf",
        "wmv" => "video/x-ms-wmv",
        "avi" => "video/x-msvideo",
        "ogv" => "video/ogg",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "ics" => "text/calendar",
        _ => return None,
    })
}
