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
}
