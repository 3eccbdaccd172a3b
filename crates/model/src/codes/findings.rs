//! Codes of what `handfast test` and `handfast explain` find (HF5xxx). HF50xx stand for one row of the
//! proof each, HF51xx for one cause that a handshake or an error text points to.

super::table! {
    NO_CERTIFICATE_ACCEPTED = "HF5001", "found_no_certificate_accepted",
        "A client without a certificate is let in",
        "the server does not ask for one, or asks and goes on without (nginx: ssl_verify_client off or optional)",
        "nginx: ssl_verify_client on; haproxy: verify required; Handfast: clients.mode: required";
    SELF_SIGNED_ACCEPTED = "HF5002", "found_self_signed_accepted",
        "A self-signed client certificate is let in",
        "certificates are asked for but not verified (nginx: optional_no_ca)",
        "nginx: ssl_verify_client on with ssl_client_certificate ca.crt; haproxy: verify required ca-file ca.crt";
    OTHER_CA_ACCEPTED = "HF5003", "found_other_ca_accepted",
        "A client certificate of an unknown authority is let in",
        "certificates are asked for but not verified (nginx: optional_no_ca), or the list of authorities holds more than it should",
        "nginx: ssl_verify_client on, and in ssl_client_certificate only the authority of your clients";
    EXPIRED_ACCEPTED = "HF5004", "found_expired_accepted",
        "An expired client certificate is let in",
        "verification is off or its result is ignored, or the server's clock is behind",
        "turn verification on; compare the clocks with: date -u";
    NOT_YET_VALID_ACCEPTED = "HF5005", "found_not_yet_valid_accepted",
        "A client certificate that is not valid yet is let in",
        "verification is off or its result is ignored, or the server's clock is ahead",
        "turn verification on; compare the clocks with: date -u";
    WRONG_USAGE_ACCEPTED = "HF5006", "found_wrong_usage_accepted",
        "A server's certificate is let in as a client's",
        "the extended key usage is not checked",
        "turn verification on; in own code verify for clientAuth, as Go's tls.RequireAndVerifyClientCert does";
    CA_AS_LEAF_ACCEPTED = "HF5007", "found_ca_as_leaf_accepted",
        "A CA certificate is let in as a client's",
        "the server checks the signature but not what the certificate is for",
        "give the authority only the key usages keyCertSign and cRLSign, and refuse CA:TRUE in leaves";
    PATH_TOO_LONG_ACCEPTED = "HF5008", "found_long_path_accepted",
        "A chain that is longer than its authority allows is let in",
        "the path length of the intermediate is not checked",
        "turn verification on; nginx: ssl_verify_depth as small as your chains are";
    WEAK_KEY_ACCEPTED = "HF5009", "found_weak_key_accepted",
        "A client certificate with an RSA key of 1024 bits is let in",
        "the security level of the TLS library was lowered",
        "OpenSSL: take @SECLEVEL=0 or 1 out of ssl_ciphers and openssl.cnf (level 2 needs 2048 bits)";
    SHA1_ACCEPTED = "HF5010", "found_sha1_accepted",
        "A client certificate with a SHA-1 signature is let in",
        "the security level of the TLS library was lowered",
        "OpenSSL: take @SECLEVEL=0 out of ssl_ciphers and openssl.cnf";
    X509_V1_ACCEPTED = "HF5011", "found_x509_v1_accepted",
        "A client certificate of X.509 version 1 is let in",
        "OpenSSL accepts leaves without extensions; such a leaf says nothing about what it is for",
        "issue version 3 only; when the server cannot refuse it and your CA never issues it: --skip x509-v1";
    BARE_LEAF_ACCEPTED = "HF5012", "found_bare_leaf_accepted",
        "A leaf without its intermediate is let in, though the server does not know the intermediate",
        "the chain is not verified up to a trusted authority",
        "turn verification on (nginx: ssl_verify_client on)";
    MALFORMED_ACCEPTED = "HF5013", "found_malformed_accepted",
        "A malformed client certificate is let in",
        "the certificate is not looked at",
        "turn verification on (nginx: ssl_verify_client on)";
    CRITICAL_ACCEPTED = "HF5014", "found_critical_extension_accepted",
        "A client certificate with an unknown critical extension is let in",
        "the verifier ignores critical extensions, against RFC 5280 section 4.2",
        "turn verification on, or replace the TLS library";
    REVOKED_ACCEPTED = "HF5015", "found_revoked_accepted",
        "A revoked client certificate is let in",
        "no revocation list is configured, or the list is older than the revocation",
        "nginx: ssl_crl crl.pem (lists of every authority in the chain), then reload; Handfast: clients.crl";
    GOOD_REFUSED = "HF5016", "found_good_refused",
        "A good client certificate is refused",
        "the server trusts another authority, or its list of identities or revocations is wrong",
        "nginx: ssl_client_certificate must hold the authority that issued it: openssl verify -CAfile ca.crt client.crt";
    STRANGER_ACCEPTED = "HF5017", "found_stranger_accepted",
        "An identity that is not on the list is let in",
        "the server trusts every certificate of the authority, whoever it names",
        "Handfast: clients.allow; nginx: map $ssl_client_s_dn to a list and return 403 for the others";
    OVERSIZED_ACCEPTED = "HF5018", "found_oversized_accepted",
        "A client certificate message of more than 128 KiB is read",
        "there is no limit on the handshake's size: memory can be filled before anybody is known",
        "set the limit of the TLS library (OpenSSL: SSL_CTX_set_max_cert_list)";
    OLD_TLS_ACCEPTED = "HF5019", "found_old_tls_accepted",
        "TLS 1.0 or 1.1 is spoken",
        "old versions are turned on for old clients (RFC 8996 forbids them)",
        "nginx: ssl_protocols TLSv1.2 TLSv1.3; haproxy: ssl-min-ver TLSv1.2";
    WEAK_CIPHER_ACCEPTED = "HF5020", "found_weak_cipher_accepted",
        "A cipher suite or group is accepted that nobody should use",
        "NULL, RC4, export or 3DES suites are turned on",
        "nginx: ssl_ciphers HIGH:!aNULL:!MD5; or leave ssl_ciphers out";
    UNKNOWN_NAME_ACCEPTED = "HF5021", "found_unknown_name_accepted",
        "A server name that is not served here gets an answer",
        "a default host answers for every name",
        "nginx: server { listen 443 ssl default_server; ssl_reject_handshake on; }";
    ALPN_IGNORED = "HF5022", "found_alpn_ignored",
        "A client without a common application protocol is let in",
        "the server ignores ALPN when nothing matches, against RFC 7301 section 3.2 (cross-protocol attacks)",
        "update the server, or refuse the handshake in its ALPN callback";
    MISDIRECTED_SERVED = "HF5023", "found_misdirected_served",
        "A request for a host under another policy is served over this connection",
        "the connection was opened for one virtual host and is used for another, past its client policy",
        "give both hosts the same client policy, or compare $ssl_server_name with $host and return 421";
    RESUMED_ELSEWHERE = "HF5024", "found_resumed_elsewhere",
        "A session of one virtual host is resumed at another without its client certificate check",
        "session tickets are shared between hosts with different client policies (CVE-2025-23419 in nginx)",
        "nginx: update, or ssl_session_tickets off and a ssl_session_cache per host";
    REFUSED_RESUMED = "HF5025", "found_refused_resumed",
        "A refused client gets in by resuming its session",
        "the server hands out tickets before it has checked the client, and does not check again",
        "turn off session tickets until the server is fixed (nginx: ssl_session_tickets off)";
    EARLY_DATA_OFFERED = "HF5026", "found_early_data_offered",
        "Early data (0-RTT) is offered",
        "it can be replayed by whoever recorded it, and arrives before the client is known",
        "nginx: ssl_early_data off; haproxy: take allow-0rtt out of the bind line";
    SLOW_HANDSHAKE_KEPT = "HF5027", "found_slow_handshake_kept",
        "A connection that does not finish its handshake is kept open",
        "the time for handshakes is long or unlimited: idle connections fill the server",
        "nginx: client_header_timeout 10s (it covers the handshake); haproxy: timeout client 10s";
    PLAIN_HTTP_SERVED = "HF5028", "found_plain_http_served",
        "Plain HTTP is served on the TLS port",
        "the port takes both, so a client that forgot https sends everything readable",
        "nginx: listen 443 ssl (with the ssl word), one port for each";
    SERVER_NAME_WRONG = "HF5029", "found_server_name_wrong",
        "The server's certificate is not valid for its name",
        "the name is missing from the certificate's DNS names, or another host's certificate is served",
        "handfast cert issue --server NAME --dns NAME, and configure it for this name";
    SERVER_CHAIN_UNTRUSTED = "HF5030", "found_server_chain_untrusted",
        "The server's chain does not lead to a trusted authority",
        "the intermediate is not sent, or the root is not trusted by this client",
        "serve the whole chain (cat leaf.crt intermediate.crt > chain.crt), or name the root with --ca";
    SERVER_EXPIRED = "HF5031", "found_server_certificate_dates",
        "The server's certificate is expired, not valid yet or about to expire",
        "it was not renewed in time, or the server was not reloaded after the renewal",
        "renew it (handfast cert renew NAME) and reload the server (nginx -s reload)";
    SERVER_LINT = "HF5032", "found_server_certificate_weak",
        "The server's certificate has a weakness that clients complain about",
        "it was made by hand or by an old tool",
        "issue a new one: handfast cert issue --server NAME --dns NAME";
    CERTIFICATE_REQUIRED = "HF5033", "found_certificate_required",
        "The server demands a client certificate where none was expected",
        "client verification is on for a site that should be one-way",
        "nginx: ssl_verify_client off; or prove a mutual site: --expect mutual --cert client.crt --key client.key";
    NO_CURRENT_TLS = "HF5034", "found_no_current_tls",
        "No client of today can speak with the server",
        "it speaks only TLS 1.0 or 1.1, or only ciphers of the past (CBC, RC4, 3DES, RSA key exchange)",
        "nginx: ssl_protocols TLSv1.2 TLSv1.3, and leave ssl_ciphers out; or update its TLS library";
    NOT_REACHED = "HF5101", "target_not_reached",
        "The server cannot be reached",
        "the name or the port is wrong, nothing listens there, or a firewall drops the packets",
        "look who listens: ss -ltnp; try: nc -vz HOST PORT";
    TARGET_NOT_TLS = "HF5102", "target_not_tls",
        "The server does not speak TLS on this port",
        "a plain port, or a protocol that begins in plain text (STARTTLS)",
        "check the port; nginx: listen 443 ssl";
    TARGET_SILENT = "HF5103", "target_silent",
        "The server takes the connection but does not answer",
        "it waits for another protocol or a PROXY protocol header, or it is overloaded",
        "check what listens there, and whether a load balancer belongs in front of it";
    HANDSHAKE_FAILED = "HF5104", "handshake_failed",
        "The handshake failed",
        "the end of the handshake has no more precise reason",
        "see each step with: handfast explain HOST:PORT; read the server's log";
    TEXT_UNKNOWN = "HF5105", "error_text_unknown",
        "This error text is not known",
        "it is not a TLS error, or it is new",
        "look at the handshake itself: handfast explain HOST:PORT";
    BAD_PAIR = "HF5106", "test_credentials_unusable",
        "A certificate or key given for the test cannot be used",
        "it is not PEM, is encrypted, or the key belongs to another certificate",
        "check the pair with: handfast cert lint --key KEY FILE";
}
