//! What a case says: its folder's requests.yaml.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A folder of the corpus.
pub struct Case {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// What is asked, in order.
    pub requests: Vec<Request>,
    /// What is meant to differ in every answer: field and reason.
    pub differs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What the case is for.
    about: String,
    #[serde(default)]
    differs: BTreeMap<String, String>,
    requests: Vec<Request>,
}

/// One request.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The URL; `PORT1` and so on stand for the ports. Names are resolved to 127.0.0.1.
    #[serde(default)]
    pub url: String,
    /// In place of a URL: bytes for this port, and everything that comes back until silence.
    #[serde(default)]
    pub raw: Option<Raw>,
    /// What nginx answers; 0 when there is no answer.
    pub status: u16,
    /// The method.
    #[serde(default)]
    pub method: Option<String>,
    /// More headers.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The body.
    #[serde(default)]
    pub body: Option<String>,
    /// A body of this many bytes.
    #[serde(default)]
    pub body_bytes: usize,
    /// The client certificate: a name of the test authority, such as `good`.
    #[serde(default)]
    pub client: Option<String>,
    /// HTTP/2.
    #[serde(default)]
    pub http2: bool,
    /// A PROXY protocol header is sent first.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// More arguments for curl.
    #[serde(default)]
    pub curl: Vec<String>,
    /// What is meant to differ: field and reason.
    #[serde(default)]
    pub differs: BTreeMap<String, String>,
}

/// Bytes as they are.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The number of the port.
    pub port: usize,
    /// What is sent; line ends become CR LF.
    pub send: String,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.method.as_deref().unwrap_or("GET");
        match &self.raw {
            Some(raw) => write!(f, "raw {:?}", raw.send.lines().next().unwrap_or_default()),
            None => write!(f, "{method} {} {:?}", self.url, self.client.as_deref().unwrap_or("-")),
        }
    }
}

/// All cases, in order.
pub fn all() -> Vec<Case> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/nginx-corpus");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("nginx.conf").is_file())
        .collect();
    folders.sort();
    folders.into_iter().map(read).collect()
}

fn read(folder: PathBuf) -> Case {
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    let text =
        std::fs::read_to_string(folder.join("requests.yaml")).unwrap_or_else(|e| panic!("{name}: {e}"));
    let file: File = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!file.about.is_empty() && !file.requests.is_empty(), "{name} asks nothing");
    Case { name, folder, requests: file.requests, differs: file.differs }
}
