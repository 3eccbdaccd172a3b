//! A route: which paths, who may use it, and what answers.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ErrorPage, Retries, Step};
use crate::pattern::PathPattern;
use crate::policy::ClientPolicy;
use crate::template::Template;
use crate::units::{Size, Span};

/// Which paths, who may use them, and what answers: at most one of `proxy`, `files` and `respond`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// The paths.
    pub path: PathPattern,
    /// Methods; empty for all. Others are answered with 405.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Reached by internal redirects only; others get 404.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// What is asked of clients on these paths, with authorities of their own. It is decided per request:
    /// the handshake asks for a certificate, and `refuse: alert` counts as status 403 here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientPolicy>,
    /// Client addresses, first match decides; none matches: allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressRule>,
    /// User and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Requests per time and key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// Requests at one time and key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connection_limits: Vec<ConnectionLimit>,
    /// Steps before the action (nginx: `rewrite`, `return`, `if` of the location).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// A service answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Files answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// A fixed answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<Respond>,
    /// Headers added to answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<HeaderRule>,
    /// Expires and Cache-Control of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expires>,
    /// Compression of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Pages for errors; the host's where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub error_pages: Vec<ErrorPage>,
    /// Size of a request's body, `0` for no limit; the listener's where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<Size>,
    /// The access log; the host's where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<super::AccessLog>,
    /// Routes within this one (nginx: nested locations). Once this route is chosen they are searched by the
    /// same rules, their regular expressions before those outside; where none fits, this route itself is used.
    /// An exact route is final and its inner routes are not looked at. They are behind this route's guards
    /// (`clients`, `addresses`, `basic_auth`) unless they have one of that kind of their own; nothing else is
    /// inherited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

/// A service answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// The service's name. It may hold variables (`$pool`, `${pool}-tls`): the value must then be the name of
    /// a service, and any other value is answered with 502. A name never becomes an address.
    pub service: Template,
    /// What becomes of the path. None: it is sent as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<PathRewrite>,
    /// The Host header. Default `$http_host` (as it came); nginx's default is `$proxy_host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Template>,
    /// Headers set on the request; an empty value removes the header.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderRule>,
    /// Sets X-Forwarded-For (appended), X-Forwarded-Proto and X-Forwarded-Host. Default true.
    pub forwarded: bool,
    /// How the client's identity is told to the service. All three forms are always stripped first (invariant 7).
    pub identity: Identity,
    /// gRPC: errors made here are answered with grpc-status in place of an HTTP status.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub grpc: bool,
    /// Rewrites Location headers that name the service itself: (from, to). `default` rules are written out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<(Template, Template)>,
    /// Retries of this route; the service's where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Timeouts of this route; the service's where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<super::ServiceTimeouts>,
    /// Statuses of 300 and more from the service go through `error_pages` (nginx: proxy_intercept_errors).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub intercept_errors: bool,
    /// Header names of the answer that are not passed on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hide_headers: Vec<String>,
    /// Reads the whole request body (up to the limit) before the service is asked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub buffer_request: bool,
    /// WebSocket and other upgrades are passed through. Default true (nginx: needs its two headers).
    pub upgrades: bool,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            service: Template::default(),
            rewrite: None,
            host: None,
            headers: Vec::new(),
            forwarded: true,
            identity: Identity::default(),
            grpc: false,
            redirects: Vec::new(),
            retries: None,
            timeouts: None,
            intercept_errors: false,
            hide_headers: Vec::new(),
            buffer_request: false,
            upgrades: true,
        }
    }
}

/// What becomes of a request's path on its way to a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PathRewrite {
    /// The route's prefix is replaced by this (nginx: a URI in `proxy_pass`). The path is the normalised one.
    Prefix(String),
    /// The whole request target is replaced.
    Whole(Template),
}

/// How the client's identity is told to a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// Not at all; headers of that kind from outside are stripped all the same.
    #[default]
    Off,
    /// `x-forwarded-client-cert`, as Envoy writes it.
    Xfcc,
    /// `Client-Cert` and `Client-Cert-Chain`, RFC 9440.
    Rfc9440,
    /// `X-SSL-Client-Verify`, `-S-DN`, `-I-DN`, `-Serial`, `-Fingerprint`, `-Cert` (escaped PEM), as nginx set-ups do.
    Nginx,
}

/// Files answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// The folder to which the whole path is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Template>,
    /// The folder (or, for a regex route, file) that replaces the route's prefix. Exactly one of root and alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<Template>,
    /// Files tried for a path that ends in `/`.
    pub index: Vec<Template>,
    /// Tried in order: paths (a folder ends in `/`), and last a path, `@name` or `=404`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub try_files: Vec<Template>,
    /// Lists folders. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub listing: bool,
    /// Looks for `.br` and `.gz` files beside the file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub precompressed: bool,
    /// Sends ETag. Default true.
    pub etag: bool,
    /// Content types by file suffix without dot, beside (before) the built-in ones.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub types: std::collections::BTreeMap<String, String>,
    /// Whether suffixes that `types` lacks are looked up in the built-in table. Default true; nginx's `types`
    /// are the whole table.
    #[serde(skip_serializing_if = "is_true")]
    pub builtin_types: bool,
    /// The content type of an unknown suffix. Default application/octet-stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_type: Option<String>,
    /// Follows symbolic links that lead out of the root. Default true, as nginx does.
    pub follow_links: bool,
}

fn is_true(value: &bool) -> bool {
    *value
}

impl Default for Files {
    fn default() -> Self {
        Self {
            root: None,
            alias: None,
            index: vec!["index.html".parse().unwrap_or_default()],
            try_files: Vec::new(),
            listing: false,
            precompressed: false,
            etag: true,
            types: std::collections::BTreeMap::new(),
            builtin_types: true,
            default_type: None,
            follow_links: true,
        }
    }
}

/// A fixed answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// The HTTP status; 444 closes the connection without an answer.
    pub status: u16,
    /// The body, or for 301, 302, 303, 307 and 308 the location.
    #[serde(default)]
    pub body: Template,
    /// The content type. Default text/plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// A header that is set or added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderRule {
    /// The header's name.
    pub name: String,
    /// Its value; empty: not sent.
    #[serde(default)]
    pub value: Template,
    /// For answers: on error statuses too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub always: bool,
}

/// Expires and Cache-Control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Expires {
    /// `Expires: now + span`, `Cache-Control: max-age`.
    In(Span),
    /// As `In`, counted from the file's last change.
    Modified(Span),
    /// 1970, `no-cache`.
    Epoch,
    /// 2037, ten years.
    Max,
    /// `no-cache`, in the past by this span.
    Past(Span),
}

/// Compression of answers that are made or passed on here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Compression {
    /// Brotli, where the client takes it.
    pub brotli: bool,
    /// gzip, where the client takes it.
    pub gzip: bool,
    /// Content types; `*` for all. text/html always.
    pub types: Vec<String>,
    /// Shortest body. Default 256.
    pub min_bytes: Size,
}

impl Default for Compression {
    fn default() -> Self {
        let types = [
            "text/css",
            "text/plain",
            "text/xml",
            "application/javascript",
            "text/javascript",
            "application/json",
            "image/svg+xml",
            "application/wasm",
        ];
        Self { brotli: true, gzip: true, types: types.map(str::to_owned).to_vec(), min_bytes: Size(256) }
    }
}

/// A rule over client addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AddressRule {
    /// Lets in: an address, a network `10.0.0.0/8`, or `all`.
    Allow(String),
    /// Refuses with 403.
    Deny(String),
}

/// User and password (RFC 7617).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The realm.
    pub realm: Template,
    /// An htpasswd file: bcrypt, SHA-crypt, apr1 or `{SHA}` lines.
    pub users: PathBuf,
}

/// Requests per time and key (leaky bucket).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Limits with the same zone share their buckets.
    pub zone: String,
    /// The key; requests whose key is empty are not limited.
    pub key: Template,
    /// Requests per second, in thousandths (`1r/s` is 1000).
    pub milli_per_second: u64,
    /// Requests above the rate that are let through, delayed unless `nodelay`.
    #[serde(default)]
    pub burst: u32,
    /// Bursts are not delayed.
    #[serde(default)]
    pub nodelay: bool,
    /// The status of a refusal. Default 503 in nginx, 429 is the better one.
    pub status: u16,
}

/// Requests at one time and key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionLimit {
    /// Limits with the same zone share their counts.
    pub zone: String,
    /// The key; empty keys are not limited.
    pub key: Template,
    /// How many at one time.
    pub most: u32,
    /// The status of a refusal.
    pub status: u16,
}
