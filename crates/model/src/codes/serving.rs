//! Codes of serving: sockets, upstreams, reloads (HF4xxx).

super::table! {
    ADDRESS_IN_USE = "HF4001", "address_in_use",
        "The address is in use",
        "another program, or another Handfast, listens on it",
        "find it with: ss -ltnp 'sport = :PORT'";
    LISTEN_FAILED = "HF4002", "listen_failed",
        "The address cannot be listened on",
        "the address is not on this machine, or the port needs root",
        "check with: ip addr; use a port above 1023 without root";
    RELOAD_REFUSED = "HF4003", "reload_refused",
        "The new configuration or certificate was refused; the last good one stays in force",
        "a file was changed to something that is wrong",
        "see the reason beside this code and mend the file; it is read again by itself";
    UPSTREAM_CONNECT = "HF4010", "upstream_connect_failed",
        "The upstream cannot be reached",
        "the application is not running, or listens elsewhere",
        "check with: ss -ltn; then the service's endpoints";
    UPSTREAM_TIMEOUT = "HF4011", "upstream_timeout",
        "The upstream did not answer in time",
        "the application is slow or stuck",
        "look at the application; raise the service's timeouts if it is right";
    UPSTREAM_TLS = "HF4012", "upstream_tls_failed",
        "The TLS handshake with the upstream failed",
        "its certificate is not trusted or does not fit its name, or it wants one of ours",
        "see why with: handfast explain HOST:PORT";
    UPSTREAM_RESET = "HF4013", "upstream_reset",
        "The upstream closed the connection in the middle",
        "the application crashed or restarted, or its idle time is shorter than ours",
        "look at the application's log";
    NO_ENDPOINT = "HF4014", "no_endpoint",
        "The service has no endpoint that can be used",
        "all are down, ejected or none is configured",
        "see them on the admin port: curl 127.0.0.1:PORT/metrics | grep endpoint";
    UPSTREAM_INVALID = "HF4015", "upstream_invalid_answer",
        "The upstream's answer is malformed",
        "it speaks another protocol than the service says (http1, http2, tls)",
        "check the service's protocol";
    UPSTREAM_TRUNCATED = "HF4016", "upstream_truncated",
        "The upstream ended its answer before it was complete",
        "the connection was cut without a TLS close_notify or short of its length",
        "look at the application; the answer was not passed on as complete";
    CERTIFICATE_EXPIRES_SOON = "HF4020", "certificate_expires_soon",
        "A certificate that is being served expires soon",
        "its renewal did not happen",
        "renew it: handfast cert renew NAME";
    CERTIFICATE_SERVED_EXPIRED = "HF4021", "certificate_served_expired",
        "A certificate that is being served has expired",
        "its renewal did not happen",
        "renew it: handfast cert renew NAME";
    CRL_EXPIRES_SOON = "HF4022", "crl_expires_soon",
        "A revocation list expires soon; then its clients are refused",
        "it was not published again",
        "publish a new one: handfast ca crl";
    UPSTREAM_NOT_VERIFIED = "HF4023", "upstream_not_verified",
        "The upstream's certificate is not verified",
        "proxy_ssl_verify is off, as it is by nginx's default, or tls.verify is none",
        "set proxy_ssl_verify on and proxy_ssl_trusted_certificate";
    KEY_TOO_OPEN = "HF4024", "key_too_open",
        "A private key can be read by others",
        "its mode is wider than 0600",
        "close it: chmod 600 FILE";
    FAIL_OPEN_USED = "HF4025", "fail_open_used",
        "A client was let in although its revocation state is not known",
        "the listener says revocation: fail-open and the CRL is missing or stale",
        "publish a current list: handfast ca crl";
    KEY_MISMATCH = "HF4026", "served_key_mismatch",
        "The private key does not belong to the certificate",
        "one of the two files was replaced and the other was not, or the paths are mixed up",
        "compare them: handfast cert lint --key KEY CHAIN";
    KEY_UNREADABLE = "HF4027", "served_key_unreadable",
        "The private key cannot be used",
        "the file holds something else, or a key that is encrypted or of a kind that is not supported",
        "look at it with: openssl pkey -in KEY -noout -text_pub";
    CERTIFICATE_NOT_VALID_YET = "HF4028", "certificate_not_valid_yet",
        "A certificate that should be served is not valid yet",
        "a clock is wrong: the issuer's is ahead or this one is behind",
        "compare the clocks with: date -u";
    ADMIN_NOT_LOOPBACK = "HF4029", "admin_not_loopback",
        "The admin port is only for this machine",
        "its address is not a loopback address; metrics would be open to everybody",
        "write admin: 127.0.0.1:9901";
    TLS_SETTINGS = "HF4030", "tls_settings",
        "The TLS settings make no sense",
        "a cipher, group or version that is not known, or nothing that is left to offer",
        "leave ciphers, groups and versions out for the safe default";
    TRUNCATED = "HF4031", "connection_truncated",
        "A TLS connection ended without close_notify",
        "the peer crashed, or somebody cut the connection to shorten what was sent",
        "look at the peer; where the protocol cannot tell the difference the other end was reset";
    FILES_EXHAUSTED = "HF4032", "file_descriptors_exhausted",
        "No more file descriptors: new connections wait",
        "more connections than the operating system allows this process",
        "raise the limit: ulimit -n 65536, or LimitNOFILE= of the systemd unit";
    SERVICE_UNKNOWN = "HF4033", "service_unknown",
        "A service that is named here is not defined",
        "its name is misspelt, or its definition was removed",
        "define it under services";
    CLIENTS_WITHOUT_AUTHORITY = "HF4034", "clients_without_authority",
        "Client certificates are required, but no authority or pin says which",
        "clients.ca, clients.trusted and clients.pinned are all empty",
        "name the authority: clients.ca: [ca.crt]";
    REDIRECT_CYCLE = "HF4035", "redirect_cycle",
        "Rewrites or internal redirects of a request go in a circle",
        "a rewrite, index or error page leads to a route that leads back",
        "let one of them end with break, or name a file that exists";
    FILE_FAILED = "HF4036", "file_failed",
        "A file could not be read to the end that was announced",
        "it was shortened or became unreadable while it was sent",
        "replace files by renaming a new one over the old";
}
