//! The table of directives: where each may stand, how many arguments it takes, and what Handfast makes of it.
//! A pure table; [`super::check`] holds a configuration against it.

/// Blocks, as bits.
pub(crate) const MAIN: u16 = 1;
/// `events`.
pub(crate) const EVENTS: u16 = 2;
/// `http`.
pub(crate) const H: u16 = 4;
/// `server` of `http`.
pub(crate) const S: u16 = 8;
/// `location`.
pub(crate) const L: u16 = 16;
/// `if` of a server.
pub(crate) const SIF: u16 = 32;
/// `if` of a location.
pub(crate) const LIF: u16 = 64;
/// `upstream` of `http`.
pub(crate) const U: u16 = 128;
/// `stream`.
pub(crate) const ST: u16 = 256;
/// `server` of `stream`.
pub(crate) const SS: u16 = 512;
/// `upstream` of `stream`.
pub(crate) const SU: u16 = 1024;

const HSL: u16 = H | S | L;
const HS: u16 = H | S;
const STS: u16 = ST | SS;

/// What Handfast makes of a directive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Use {
    /// Carried out.
    Done,
    /// Carried out; it may stand several times in one block.
    Many,
    /// Opens a block; it may stand several times.
    Block,
    /// Opens a block whose lines are data, not directives.
    Data,
    /// Without a counterpart and without meaning to security: accepted with a note.
    Noted(&'static str),
    /// As `Noted`; it may stand several times in one block.
    ManyNoted(&'static str),
    /// Known to nginx, refused here, with what to do.
    Refused(&'static str),
    /// Accepted with this one argument, which says what Handfast does anyway; refused otherwise, with the reason.
    Only(&'static str, &'static str),
}

/// A row: name, blocks, fewest and most arguments, use.
pub(crate) type Row = (&'static str, u16, usize, usize, Use);

use Use::{Block, Data, Done, Many, ManyNoted, Noted, Only, Refused};

const ANY: usize = usize::MAX;
const RUNTIME: &str = "Handfast runs one process with a thread per core";
const BUFFERS: &str = "Handfast sizes its buffers itself and streams";
const SOCKETS: &str = "Handfast chooses the socket options itself";
const HASHES: &str = "Handfast has no tables to size";
const CACHE: &str = "Handfast does not keep open files";
const NO_CACHE: &str = "responses are not cached";
const NO_SCRIPTS: &str = "scripts are not run; put the logic into the application";
const NO_BODY: &str = "bodies are not rewritten";
const FASTCGI: &str =
    "Handfast speaks HTTP and gRPC to applications; put an HTTP server in front of this one";
const SUBREQUEST: &str =
    "Handfast makes no subrequests; decide by client certificate, basic_auth, allow and deny";
const OCSP: &str = "revocation is decided by lists: use ssl_crl";

/// All rows.
pub(crate) static ROWS: &[Row] = &[
    // Main
    ("events", MAIN, 0, 0, Block),
    ("http", MAIN, 0, 0, Block),
    ("stream", MAIN, 0, 0, Block),
    ("mail", MAIN, 0, 0, Refused("mail is not proxied; a `stream` block carries it")),
    (
        "user",
        MAIN,
        1,
        2,
        Noted("Handfast does not change its user; start it as the one that it shall run as"),
    ),
    ("pid", MAIN, 1, 1, Noted("Handfast writes no pid file")),
    ("daemon", MAIN, 1, 1, Noted("Handfast stays in the foreground")),
    ("master_process", MAIN, 1, 1, Noted(RUNTIME)),
    ("worker_processes", MAIN, 1, 1, Done),
    ("worker_cpu_affinity", MAIN, 1, ANY, Noted(RUNTIME)),
    ("worker_priority", MAIN, 1, 1, Noted(RUNTIME)),
    ("worker_rlimit_nofile", MAIN, 1, 1, Noted("set the limit of open files where Handfast is started")),
    ("worker_rlimit_core", MAIN, 1, 1, Noted("set the limit where Handfast is started")),
    ("worker_shutdown_timeout", MAIN, 1, 1, Done),
    ("working_directory", MAIN, 1, 1, Noted(RUNTIME)),
    ("env", MAIN, 1, 1, ManyNoted("Handfast starts no other program")),
    ("thread_pool", MAIN, 2, 3, Noted(RUNTIME)),
    ("timer_resolution", MAIN, 1, 1, Noted(RUNTIME)),
    ("lock_file", MAIN, 1, 1, Noted(RUNTIME)),
    ("pcre_jit", MAIN, 1, 1, Noted("regular expressions run in linear time without it")),
    ("ssl_engine", MAIN, 1, 1, Refused("keys are read from files")),
    ("load_module", MAIN, 1, 1, Done),
    ("error_log", MAIN | HSL | STS, 1, 2, Many),
    // Events
    ("worker_connections", EVENTS, 1, 1, Noted("see limits.connections of a listener in handfast.yaml")),
    ("multi_accept", EVENTS, 1, 1, Noted(RUNTIME)),
    ("accept_mutex", EVENTS, 1, 1, Noted(RUNTIME)),
    ("accept_mutex_delay", EVENTS, 1, 1, Noted(RUNTIME)),
    ("use", EVENTS, 1, 1, Noted(RUNTIME)),
    ("worker_aio_requests", EVENTS, 1, 1, Noted(RUNTIME)),
    ("debug_connection", EVENTS, 1, 1, Noted("see --log")),
    // Servers and locations
    ("server", H | U | ST | SU, 0, ANY, Block),
    ("location", S | L, 1, 2, Block),
    ("upstream", H | ST, 1, 1, Block),
    ("if", S | L, 1, ANY, Block),
    ("map", H | ST, 2, 2, Data),
    ("types", HSL, 0, 0, Data),
    ("limit_except", L, 1, ANY, Refused("use `if ($request_method != GET) { return 403; }`")),
    ("geo", H | ST, 1, 2, Refused("use allow and deny")),
    ("split_clients", H | ST, 2, 2, Refused("use weights of an upstream's servers")),
    ("listen", S | SS, 1, ANY, Many),
    ("server_name", S, 1, ANY, Many),
    ("internal", L, 0, 0, Done),
    // TLS
    ("ssl", HS, 1, 1, Done),
    ("ssl_certificate", HS | STS, 1, 1, Many),
    ("ssl_certificate_key", HS | STS, 1, 1, Many),
    ("ssl_password_file", HS | STS, 1, 1, Done),
    ("ssl_protocols", HS | STS, 1, ANY, Done),
    ("ssl_ciphers", HS | STS, 1, 1, Done),
    (
        "ssl_prefer_server_ciphers",
        HS | STS,
        1,
        1,
        Noted("all suites that are left are strong; the order of `ssl_ciphers` is offered"),
    ),
    ("ssl_ecdh_curve", HS | STS, 1, 1, Done),
    (
        "ssl_dhparam",
        HS | STS,
        1,
        1,
        Noted("there is no finite-field Diffie-Hellman here, so that its parameters are not needed"),
    ),
    ("ssl_buffer_size", HS, 1, 1, Noted(BUFFERS)),
    ("ssl_early_data", HS, 1, 1, Done),
    ("ssl_reject_handshake", HS, 1, 1, Done),
    ("ssl_session_cache", HS | STS, 1, 2, Noted("sessions are resumed by tickets, see ssl_session_tickets")),
    ("ssl_session_timeout", HS | STS, 1, 1, Done),
    ("ssl_session_tickets", HS | STS, 1, 1, Done),
    ("ssl_session_ticket_key", HS | STS, 1, 1, Many),
    ("ssl_stapling", HS, 1, 1, Noted("OCSP answers are not stapled")),
    ("ssl_stapling_file", HS, 1, 1, Noted("OCSP answers are not stapled")),
    ("ssl_stapling_responder", HS, 1, 1, Noted("OCSP answers are not stapled")),
    ("ssl_stapling_verify", HS, 1, 1, Noted("OCSP answers are not stapled")),
    ("ssl_client_certificate", HS | STS, 1, 1, Done),
    ("ssl_trusted_certificate", HS | STS, 1, 1, Done),
    ("ssl_verify_client", HS | STS, 1, 1, Done),
    ("ssl_verify_depth", HS | STS, 1, 1, Done),
    ("ssl_crl", HS | STS, 1, 1, Done),
    ("ssl_ocsp", HS, 1, 1, Only("off", OCSP)),
    ("ssl_ocsp_cache", HS, 1, 1, Refused(OCSP)),
    ("ssl_ocsp_responder", HS, 1, 1, Refused(OCSP)),
    ("ssl_conf_command", HS | STS, 2, 2, Refused("use ssl_protocols, ssl_ciphers and ssl_ecdh_curve")),
    ("ssl_handshake_timeout", STS, 1, 1, Done),
    ("ssl_alpn", STS, 1, ANY, Done),
    // Proxying
    ("proxy_pass", L | LIF | SS, 1, 1, Done),
    ("proxy_set_header", HSL, 2, 2, Many),
    ("proxy_http_version", HSL, 1, 1, Done),
    ("proxy_connect_timeout", HSL | STS, 1, 1, Done),
    ("proxy_read_timeout", HSL, 1, 1, Done),
    ("proxy_send_timeout", HSL, 1, 1, Done),
    ("proxy_timeout", STS, 1, 1, Done),
    ("proxy_protocol", STS, 1, 1, Done),
    ("proxy_buffering", HSL, 1, 1, Noted(BUFFERS)),
    ("proxy_request_buffering", HSL, 1, 1, Done),
    ("proxy_buffers", HSL, 2, 2, Noted(BUFFERS)),
    ("proxy_buffer_size", HSL | STS, 1, 1, Noted(BUFFERS)),
    ("proxy_busy_buffers_size", HSL, 1, 1, Noted(BUFFERS)),
    ("proxy_temp_path", HSL, 1, 4, Noted(BUFFERS)),
    ("proxy_temp_file_write_size", HSL, 1, 1, Noted(BUFFERS)),
    ("proxy_max_temp_file_size", HSL, 1, 1, Noted(BUFFERS)),
    ("proxy_socket_keepalive", HSL | STS, 1, 1, Noted(SOCKETS)),
    ("proxy_headers_hash_max_size", HSL, 1, 1, Noted(HASHES)),
    ("proxy_headers_hash_bucket_size", HSL, 1, 1, Noted(HASHES)),
    ("proxy_redirect", HSL, 1, 2, Many),
    ("proxy_next_upstream", HSL | STS, 1, ANY, Done),
    ("proxy_next_upstream_tries", HSL | STS, 1, 1, Done),
    (
        "proxy_next_upstream_timeout",
        HSL | STS,
        1,
        1,
        Noted("retries are bounded by their number and a budget"),
    ),
    ("proxy_intercept_errors", HSL, 1, 1, Done),
    ("proxy_hide_header", HSL, 1, 1, Many),
    ("proxy_pass_header", HSL, 1, 1, Many),
    (
        "proxy_ignore_headers",
        HSL,
        1,
        ANY,
        Noted("headers of applications that speak to nginx are not acted upon"),
    ),
    ("proxy_ssl", STS, 1, 1, Done),
    ("proxy_ssl_certificate", HSL | STS, 1, 1, Done),
    ("proxy_ssl_certificate_key", HSL | STS, 1, 1, Done),
    ("proxy_ssl_password_file", HSL | STS, 1, 1, Done),
    ("proxy_ssl_trusted_certificate", HSL | STS, 1, 1, Done),
    ("proxy_ssl_verify", HSL | STS, 1, 1, Done),
    ("proxy_ssl_verify_depth", HSL | STS, 1, 1, Done),
    ("proxy_ssl_name", HSL | STS, 1, 1, Done),
    ("proxy_ssl_server_name", HSL | STS, 1, 1, Done),
    ("proxy_ssl_session_reuse", HSL | STS, 1, 1, Done),
    ("proxy_ssl_crl", HSL | STS, 1, 1, Done),
    ("proxy_ssl_protocols", HSL | STS, 1, ANY, Done),
    ("proxy_ssl_ciphers", HSL | STS, 1, 1, Done),
    ("proxy_cache", HSL, 1, 1, Only("off", NO_CACHE)),
    ("proxy_cache_path", H, 2, ANY, Refused(NO_CACHE)),
    ("proxy_cache_valid", HSL, 1, ANY, Refused(NO_CACHE)),
    ("proxy_cookie_path", HSL, 1, ANY, Refused("cookies of answers are passed on as they are")),
    ("proxy_cookie_domain", HSL, 1, ANY, Refused("cookies of answers are passed on as they are")),
    ("proxy_set_body", HSL, 1, 1, Refused(NO_BODY)),
    ("proxy_method", HSL, 1, 1, Refused("the method is passed on as it came")),
    ("proxy_bind", HSL | STS, 1, 2, Refused("the system chooses the address that connections come from")),
    ("grpc_pass", L | LIF, 1, 1, Done),
    ("grpc_set_header", HSL, 2, 2, Many),
    ("grpc_connect_timeout", HSL, 1, 1, Done),
    ("grpc_read_timeout", HSL, 1, 1, Done),
    ("grpc_send_timeout", HSL, 1, 1, Done),
    ("grpc_buffer_size", HSL, 1, 1, Noted(BUFFERS)),
    ("grpc_next_upstream", HSL, 1, ANY, Done),
    ("grpc_next_upstream_tries", HSL, 1, 1, Done),
    ("grpc_intercept_errors", HSL, 1, 1, Done),
    ("grpc_hide_header", HSL, 1, 1, Many),
    ("grpc_pass_header", HSL, 1, 1, Many),
    ("grpc_ssl_certificate", HSL, 1, 1, Done),
    ("grpc_ssl_certificate_key", HSL, 1, 1, Done),
    ("grpc_ssl_password_file", HSL, 1, 1, Done),
    ("grpc_ssl_trusted_certificate", HSL, 1, 1, Done),
    ("grpc_ssl_verify", HSL, 1, 1, Done),
    ("grpc_ssl_verify_depth", HSL, 1, 1, Done),
    ("grpc_ssl_name", HSL, 1, 1, Done),
    ("grpc_ssl_server_name", HSL, 1, 1, Done),
    ("grpc_ssl_session_reuse", HSL, 1, 1, Done),
    ("grpc_ssl_crl", HSL, 1, 1, Done),
    ("grpc_ssl_protocols", HSL, 1, ANY, Done),
    ("grpc_ssl_ciphers", HSL, 1, 1, Done),
    ("fastcgi_pass", L | LIF, 1, 1, Refused(FASTCGI)),
    ("fastcgi_param", HSL, 2, 3, Refused(FASTCGI)),
    ("fastcgi_index", HSL, 1, 1, Refused(FASTCGI)),
    ("fastcgi_split_path_info", L, 1, 1, Refused(FASTCGI)),
    ("uwsgi_pass", L | LIF, 1, 1, Refused(FASTCGI)),
    ("uwsgi_param", HSL, 2, 3, Refused(FASTCGI)),
    ("scgi_pass", L | LIF, 1, 1, Refused(FASTCGI)),
    ("memcached_pass", L | LIF, 1, 1, Refused(FASTCGI)),
    // Upstreams
    ("least_conn", U | SU, 0, 0, Done),
    ("ip_hash", U, 0, 0, Done),
    ("hash", U | SU, 1, 2, Done),
    ("random", U | SU, 0, 2, Done),
    ("keepalive", U, 1, 1, Done),
    ("keepalive_requests", HSL | U, 1, 1, Done),
    ("keepalive_time", HSL | U, 1, 1, Noted("see keepalive_timeout and keepalive_requests")),
    ("zone", U | SU, 1, 2, Noted("all threads share one state")),
    ("resolver", HSL | STS, 1, ANY, Noted("names are resolved by the system's resolver")),
    ("resolver_timeout", HSL | STS, 1, 1, Noted("names are resolved by the system's resolver")),
    // Content
    ("root", HSL | LIF, 1, 1, Done),
    ("alias", L, 1, 1, Done),
    ("index", HSL, 1, ANY, Many),
    ("try_files", S | L, 2, ANY, Done),
    ("return", S | L | SIF | LIF, 1, 2, Many),
    ("rewrite", S | L | SIF | LIF, 2, 3, Many),
    ("break", S | L | SIF | LIF, 0, 0, Many),
    ("set", S | L | SIF | LIF, 2, 2, Many),
    ("rewrite_log", HSL, 1, 1, Noted("see --log")),
    ("error_page", HSL | LIF, 2, ANY, Many),
    ("recursive_error_pages", HSL, 1, 1, Only("off", "an error within an error page is answered as it is")),
    ("default_type", HSL, 1, 1, Done),
    ("sendfile", HSL | LIF, 1, 1, Noted("Handfast chooses how files are sent")),
    ("sendfile_max_chunk", HSL, 1, 1, Noted("Handfast chooses how files are sent")),
    ("aio", HSL, 1, 1, Noted("Handfast chooses how files are sent")),
    ("directio", HSL, 1, 1, Noted("Handfast chooses how files are sent")),
    ("output_buffers", HSL, 2, 2, Noted(BUFFERS)),
    ("postpone_output", HSL, 1, 1, Noted(BUFFERS)),
    ("read_ahead", HSL, 1, 1, Noted(BUFFERS)),
    ("gzip", HSL | LIF, 1, 1, Done),
    ("gzip_types", HSL, 1, ANY, Many),
    ("gzip_static", HSL, 1, 1, Done),
    ("gzip_min_length", HSL, 1, 1, Done),
    ("gzip_vary", HSL, 1, 1, Noted("Vary is sent wherever the answer depends on Accept-Encoding")),
    ("gzip_comp_level", HSL, 1, 1, Noted("Handfast chooses the level")),
    ("gzip_buffers", HSL, 2, 2, Noted(BUFFERS)),
    (
        "gzip_http_version",
        HSL,
        1,
        1,
        Noted("clients of HTTP/1.0 get compressed answers where they ask for them"),
    ),
    ("gzip_proxied", HSL, 1, ANY, Noted("answers are compressed for proxies as for any client that asks")),
    ("gzip_disable", HSL, 1, ANY, Noted("clients that ask for gzip get it")),
    ("gunzip", HSL, 1, 1, Only("off", "compressed answers of applications are passed on as they are")),
    ("expires", HSL | LIF, 1, 2, Done),
    ("add_header", HSL | LIF, 2, 3, Many),
    ("add_trailer", HSL | LIF, 2, 3, Refused("trailers are passed on, not made")),
    ("autoindex", HSL, 1, 1, Done),
    ("autoindex_exact_size", HSL, 1, 1, Noted("listings have one form")),
    ("autoindex_localtime", HSL, 1, 1, Noted("listings have one form")),
    ("autoindex_format", HSL, 1, 1, Done),
    ("etag", HSL, 1, 1, Done),
    ("charset", HSL | LIF, 1, 1, Done),
    ("override_charset", HSL | LIF, 1, 1, Refused("bodies are not recoded")),
    ("sub_filter", HSL, 2, 2, Refused(NO_BODY)),
    ("ssi", HSL | LIF, 1, 1, Only("off", NO_BODY)),
    ("mirror", HSL, 1, 1, Refused(SUBREQUEST)),
    ("stub_status", S | L, 0, 1, Refused("metrics are on the admin port, see docs/configuration.md")),
    ("dav_methods", HSL, 1, ANY, Refused("files are read, not written")),
    ("client_max_body_size", HSL, 1, 1, Done),
    ("client_body_timeout", HSL, 1, 1, Done),
    ("client_body_buffer_size", HSL, 1, 1, Noted(BUFFERS)),
    ("client_body_temp_path", HSL, 1, 4, Noted(BUFFERS)),
    ("client_body_in_file_only", HSL, 1, 1, Refused("bodies are not written to files")),
    ("client_header_timeout", HS, 1, 1, Done),
    ("client_header_buffer_size", HS, 1, 1, Noted("see large_client_header_buffers")),
    ("large_client_header_buffers", HS, 2, 2, Done),
    ("send_timeout", HSL, 1, 1, Done),
    ("keepalive_timeout", HSL | U, 1, 2, Done),
    ("keepalive_disable", HSL, 1, ANY, Noted("the browsers that needed it are gone")),
    ("lingering_close", HSL, 1, 1, Noted(SOCKETS)),
    ("lingering_time", HSL, 1, 1, Noted(SOCKETS)),
    ("lingering_timeout", HSL, 1, 1, Noted(SOCKETS)),
    ("reset_timedout_connection", HSL, 1, 1, Noted(SOCKETS)),
    ("tcp_nopush", HSL, 1, 1, Noted(SOCKETS)),
    ("tcp_nodelay", HSL | STS, 1, 1, Noted(SOCKETS)),
    ("send_lowat", HSL, 1, 1, Noted(SOCKETS)),
    ("open_file_cache", HSL, 1, 2, Noted(CACHE)),
    ("open_file_cache_valid", HSL, 1, 1, Noted(CACHE)),
    ("open_file_cache_min_uses", HSL, 1, 1, Noted(CACHE)),
    ("open_file_cache_errors", HSL, 1, 1, Noted(CACHE)),
    ("open_log_file_cache", HSL, 1, 4, Noted(CACHE)),
    ("log_not_found", HSL, 1, 1, Noted("see --log")),
    ("log_subrequest", HSL, 1, 1, Noted("there are no subrequests")),
    ("server_tokens", HSL, 1, 1, Noted("no version is ever sent")),
    ("server_names_hash_max_size", H, 1, 1, Noted(HASHES)),
    ("server_names_hash_bucket_size", H, 1, 1, Noted(HASHES)),
    ("types_hash_max_size", HSL, 1, 1, Noted(HASHES)),
    ("types_hash_bucket_size", HSL, 1, 1, Noted(HASHES)),
    ("variables_hash_max_size", H | ST, 1, 1, Noted(HASHES)),
    ("variables_hash_bucket_size", H | ST, 1, 1, Noted(HASHES)),
    ("map_hash_max_size", H | ST, 1, 1, Noted(HASHES)),
    ("map_hash_bucket_size", H | ST, 1, 1, Noted(HASHES)),
    ("connection_pool_size", HS, 1, 1, Noted(BUFFERS)),
    ("request_pool_size", HS, 1, 1, Noted(BUFFERS)),
    ("http2_max_concurrent_streams", HS, 1, 1, Done),
    ("http2_recv_buffer_size", H, 1, 1, Noted(BUFFERS)),
    ("http2_chunk_size", HSL, 1, 1, Noted(BUFFERS)),
    ("http2_body_preread_size", HS, 1, 1, Noted(BUFFERS)),
    ("http2", HS, 1, 1, Done),
    ("http2_push", HSL, 1, 1, Noted("nothing is pushed; browsers have dropped it")),
    ("http2_push_preload", HSL, 1, 1, Noted("nothing is pushed; browsers have dropped it")),
    ("merge_slashes", HS, 1, 1, Only("on", "slashes are merged always")),
    ("underscores_in_headers", HS, 1, 1, Done),
    ("ignore_invalid_headers", HS, 1, 1, Only("on", "invalid headers are refused always")),
    ("absolute_redirect", HSL, 1, 1, Only("on", "redirects are absolute, as nginx makes them by default")),
    (
        "server_name_in_redirect",
        HSL,
        1,
        1,
        Only("off", "redirects name the host that was asked for, as nginx does by default"),
    ),
    ("port_in_redirect", HSL, 1, 1, Only("on", "redirects name the port, as nginx does by default")),
    (
        "satisfy",
        HSL,
        1,
        1,
        Only("all", "all of allow, deny and auth_basic must let a request in, as with `satisfy all`"),
    ),
    ("auth_request", HSL, 1, 1, Only("off", SUBREQUEST)),
    ("auth_request_set", HSL, 2, 2, Refused(SUBREQUEST)),
    ("secure_link", HSL, 1, 1, Refused(SUBREQUEST)),
    // Who may
    ("allow", HSL, 1, 1, Many),
    ("deny", HSL, 1, 1, Many),
    ("auth_basic", HSL, 1, 1, Done),
    ("auth_basic_user_file", HSL, 1, 1, Done),
    ("limit_req_zone", H, 3, 4, Many),
    ("limit_req", HSL, 1, 3, Many),
    ("limit_req_status", HSL, 1, 1, Done),
    ("limit_req_log_level", HSL, 1, 1, Noted("every refusal is logged")),
    ("limit_req_dry_run", HSL, 1, 1, Only("off", "leave limit_req out to try without it")),
    ("limit_conn_zone", H | ST, 2, 2, Many),
    ("limit_conn", HSL, 2, 2, Many),
    ("limit_conn_status", HSL, 1, 1, Done),
    ("limit_conn_log_level", HSL, 1, 1, Noted("every refusal is logged")),
    ("limit_rate", HSL | LIF, 1, 1, Only("0", "the rate of answers is not limited")),
    ("limit_rate_after", HSL | LIF, 1, 1, Refused("the rate of answers is not limited")),
    ("set_real_ip_from", HSL | STS, 1, 1, Many),
    ("real_ip_header", HSL, 1, 1, Done),
    ("real_ip_recursive", HSL, 1, 1, Done),
    // Logs
    ("access_log", HSL | LIF | STS, 1, ANY, Many),
    ("log_format", H | ST, 2, ANY, Many),
    // Stream
    ("ssl_preread", STS, 1, 1, Done),
    ("preread_timeout", STS, 1, 1, Noted("the ClientHello is waited for as long as a handshake may take")),
    ("preread_buffer_size", STS, 1, 1, Noted(BUFFERS)),
    ("proxy_responses", STS, 1, 1, Refused("UDP is not proxied")),
    ("proxy_requests", STS, 1, 1, Refused("UDP is not proxied")),
    // Scripts
    ("js_include", H | ST, 1, 1, Refused(NO_SCRIPTS)),
    ("js_import", H | ST, 1, 3, Refused(NO_SCRIPTS)),
    ("js_content", L, 1, 1, Refused(NO_SCRIPTS)),
    ("perl_require", H, 1, 1, Refused(NO_SCRIPTS)),
    ("content_by_lua", L, 1, 1, Refused(NO_SCRIPTS)),
    ("access_by_lua", HSL, 1, 1, Refused(NO_SCRIPTS)),
];

/// The row of a directive.
pub(crate) fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.0 == name)
}

/// The names of the blocks in a set of bits.
pub(crate) fn block_names(bits: u16) -> String {
    let names = [
        (MAIN, "the main level"),
        (EVENTS, "events"),
        (H, "http"),
        (S, "server"),
        (L, "location"),
        (SIF, "if in server"),
        (LIF, "if in location"),
        (U, "upstream"),
        (ST, "stream"),
        (SS, "server of stream"),
        (SU, "upstream of stream"),
    ];
    names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}
