//! Codes of a refused connection or request (HF3xxx): the reasons of access logs and of
//! `handfast_tls_handshake_failures_total{reason}`. The peer is told the TLS alert or HTTP status only.

super::table! {
    CLIENT_CERTIFICATE_MISSING = "HF3001", "certificate_required",
        "The client sent no certificate",
        "the client has none configured, or none that chains to the authorities that the server named",
        "give the client one: handfast cert issue --client NAME; then curl --cert NAME.crt --key NAME.key";
    UNKNOWN_ISSUER = "HF3002", "unknown_ca",
        "The certificate is signed by an authority that is not trusted here",
        "it comes from another CA, or is signed by itself",
        "compare its issuer with the trusted ones: handfast cert inspect FILE";
    INTERMEDIATE_MISSING = "HF3003", "intermediate_missing",
        "The client did not send its intermediate certificate",
        "only the leaf is configured; the chain file must hold the leaf, then its intermediates",
        "configure the chain: cat leaf.crt intermediate.crt > chain.crt";
    CERTIFICATE_EXPIRED = "HF3004", "certificate_expired",
        "The certificate has expired",
        "it was not renewed in time, or a clock is wrong",
        "renew it: handfast cert renew NAME; compare the clocks with: date -u";
    CERTIFICATE_NOT_YET_VALID = "HF3005", "certificate_not_yet_valid",
        "The certificate is not valid yet",
        "a clock is wrong: the issuer's is ahead or this one is behind",
        "compare the clocks with: date -u";
    WRONG_USAGE = "HF3006", "wrong_extended_key_usage",
        "The certificate is not meant for this purpose",
        "a server's certificate is used by a client, or the reverse (extended key usage)",
        "issue one for clients: handfast cert issue --client NAME";
    IDENTITY_NOT_ALLOWED = "HF3007", "identity_not_allowed",
        "The certificate is good, but its identity is not on the list",
        "no rule of the policy names this identity",
        "add a rule for it under clients.allow, or call with another identity";
    SERVER_NAME_MISMATCH = "HF3008", "name_mismatch",
        "The server's certificate is not valid for the name that was asked for",
        "the name is missing from the certificate, or the connection reached another server",
        "issue one with that name: handfast cert issue --server NAME --dns NAME";
    CERTIFICATE_REVOKED = "HF3009", "certificate_revoked",
        "The certificate has been revoked",
        "its issuer put it on the revocation list",
        "issue a new one; see why with: handfast cert list --status revoked";
    REVOCATION_UNKNOWN = "HF3010", "revocation_unknown",
        "No revocation list covers the certificate's issuer",
        "the CRL of one authority in the chain is missing",
        "add it to clients.crl, or choose clients.revocation: fail-open (each use is logged)";
    REVOCATION_STALE = "HF3011", "revocation_stale",
        "The revocation list has expired",
        "it was not renewed before its next-update time",
        "publish a new one: handfast ca crl; or choose clients.revocation: fail-open (each use is logged)";
    CA_AS_LEAF = "HF3012", "ca_used_as_leaf",
        "A CA certificate was used as the end's own certificate",
        "the authority's certificate is configured where a leaf belongs",
        "issue a leaf from it: handfast cert issue";
    PATH_TOO_LONG = "HF3013", "path_length_exceeded",
        "The chain is longer than an authority or the listener allows",
        "an intermediate's path length, or the listener's clients.depth, is exceeded",
        "issue from an allowed intermediate, or raise clients.depth";
    NAME_CONSTRAINT = "HF3014", "name_constraint_broken",
        "The certificate's name lies outside of what its authority may issue",
        "a name constraint of an authority in the chain excludes it",
        "issue the name from an authority whose constraints allow it";
    WEAK_KEY = "HF3015", "weak_key",
        "The certificate's key is too weak",
        "RSA below 2048 bits, or a curve that is not accepted",
        "issue a new one with a P-256 key: handfast cert issue --key p256";
    WEAK_SIGNATURE = "HF3016", "weak_signature",
        "The certificate is signed with an algorithm that is not accepted",
        "SHA-1 or MD5 signatures can be forged",
        "issue a new certificate from an authority that signs with SHA-256 or better";
    X509_V1 = "HF3017", "x509_version_1",
        "The certificate is X.509 version 1",
        "it was made without extensions, as openssl x509 -req does without -extfile",
        "issue a version 3 certificate: handfast cert issue; or pin this one under clients.allow";
    BAD_CERTIFICATE = "HF3018", "bad_certificate",
        "The certificate cannot be understood",
        "malformed DER, or a critical extension that is not known",
        "look at it with: handfast cert inspect FILE";
    BAD_SIGNATURE = "HF3019", "bad_signature",
        "A signature does not fit: the peer did not prove that it holds the key, or the chain was altered",
        "the certificate and the key do not belong together, or a certificate was tampered with",
        "check the pair with: handfast cert lint --key KEY FILE";
    PROTOCOL_VERSION = "HF3020", "protocol_version",
        "No TLS version in common",
        "one side speaks only TLS 1.0 or 1.1, or less than the other requires",
        "bring the older side to TLS 1.2 or newer";
    NO_COMMON_CIPHER = "HF3021", "no_common_cipher",
        "No cipher suite, group or signature algorithm in common",
        "the peer offers only finite-field Diffie-Hellman, CBC or RSA key exchange, or the listener's list is too short",
        "see what it offers with: handfast explain HOST:PORT";
    UNRECOGNIZED_NAME = "HF3022", "unrecognized_name",
        "The client asked for a server name that is not served here",
        "the name is misspelt, DNS points to the wrong place, or a host entry is missing",
        "add the name to a host of this listener, or mark one host as default";
    MISDIRECTED = "HF3023", "misdirected_request",
        "The request's host is under another policy than the connection's server name",
        "a connection opened for one virtual host was used for another",
        "open a connection of its own for that host (clients do so by themselves after HTTP 421)";
    NO_APPLICATION_PROTOCOL = "HF3024", "no_application_protocol",
        "No application protocol (ALPN) in common",
        "the client speaks only protocols that this listener does not offer",
        "add the protocol to tls.alpn";
    HANDSHAKE_TIMEOUT = "HF3025", "handshake_timeout",
        "The handshake was not finished in time",
        "a very slow network, or somebody who keeps connections open on purpose",
        "nothing, if it is rare; else see the peer addresses in the access log";
    HANDSHAKE_TOO_LARGE = "HF3026", "handshake_too_large",
        "The handshake is larger than allowed",
        "a chain with needless certificates, or an attack",
        "send the leaf and its intermediates only";
    PLAIN_HTTP = "HF3027", "plain_http_on_tls_port",
        "Plain HTTP on a TLS port",
        "the client used http:// where https:// belongs",
        "use https://";
    NOT_TLS = "HF3028", "not_tls",
        "The first bytes are not TLS",
        "another protocol on this port, a port scan, or a PROXY protocol header that is not expected here",
        "check the client's protocol and, behind a load balancer, the listener's proxy_protocol";
    PEER_ALERT = "HF3029", "peer_alert",
        "The peer refused us with a TLS alert",
        "it does not trust our certificate, or wants what we do not have",
        "explain the alert: handfast explain 'ALERT TEXT'";
    PEER_CLOSED = "HF3030", "peer_closed",
        "The peer closed the connection during the handshake",
        "a health check that only connects, a client that does not trust us, or a network fault",
        "look at the client's own log";
    PROTOCOL_ERROR = "HF3031", "protocol_error",
        "The peer broke the TLS protocol",
        "a defect in its TLS library, or an attack",
        "record it with: handfast explain HOST:PORT";
    PROXY_PROTOCOL_INVALID = "HF3032", "proxy_protocol_invalid",
        "The PROXY protocol header is missing or malformed",
        "the load balancer does not send it, or somebody connects directly",
        "set send-proxy on the balancer, or remove proxy_protocol from the listener";
    PROXY_PROTOCOL_UNTRUSTED = "HF3033", "proxy_protocol_untrusted",
        "A PROXY protocol header from an address that may not send one",
        "the balancer's address is not listed",
        "add it under proxy_protocol.trusted";
    ADDRESS_DENIED = "HF3034", "address_denied",
        "The client's address is not allowed",
        "an allow or deny rule of this route",
        "add the address to the route's addresses.allow";
    CREDENTIALS_DENIED = "HF3035", "credentials_denied",
        "The user name or password is missing or wrong",
        "basic authentication protects this route",
        "give the right user and password";
    TOO_MANY_CONNECTIONS = "HF3036", "too_many_connections",
        "The limit of connections is reached",
        "more clients than limits.connections, or clients that do not close",
        "raise limits.connections, or lower timeouts.idle";
    TOO_MANY_REQUESTS = "HF3037", "too_many_requests",
        "The limit of requests is reached",
        "one client sends more than the route's rate allows",
        "slow down, or raise the route's rate";
    HEADERS_TOO_LARGE = "HF3038", "headers_too_large",
        "The request's headers are larger than allowed",
        "many or large cookies, or an attack",
        "raise limits.header_bytes";
    BODY_TOO_LARGE = "HF3039", "body_too_large",
        "The request's body is larger than allowed",
        "an upload above limits.body_bytes",
        "raise limits.body_bytes for this route";
    REQUEST_INVALID = "HF3040", "request_invalid",
        "The request is malformed or ambiguous",
        "a defect in the client, or an attempt to smuggle a request",
        "look at the client; nothing was sent upstream";
    REQUEST_TIMEOUT = "HF3041", "request_timeout",
        "The request did not arrive in time",
        "a slow or stalled client",
        "raise timeouts.header or timeouts.body if such clients are expected";
    POLICY_UNKNOWN = "HF3042", "policy_unknown",
        "A policy that is named here is not known",
        "its definition was removed or has not arrived; what is unknown denies",
        "define the policy, or take its name out of the route";
    ROUTE_NOT_FOUND = "HF3043", "route_not_found",
        "No route for this request",
        "neither the host nor the path is configured",
        "add a route, or a default host";
    ECH_OR_EARLY_DATA = "HF3044", "early_data_refused",
        "Early data (0-RTT) is not accepted",
        "early data can be replayed by anybody who recorded it",
        "send the request after the handshake";
    CHAIN_UNTRUSTED_FOR_PATH = "HF3045", "unknown_ca_for_path",
        "The client's certificate is not from an authority that this path trusts",
        "another path of the same listener trusts its issuer, but this one does not",
        "use a certificate from the path's own authority";
}
