//! Codes of keys, certificates, the certificate authority and its store (HF1xxx).
//! HF10xx: the authority, issuing, the ledger. HF11xx: inspecting, verifying, linting and formats.

super::table! {
    CA_MISSING = "HF1001", "ca_missing",
        "There is no certificate authority in this folder",
        "it was not made yet, or --dir points elsewhere",
        "make one with: handfast ca init";
    CA_EXISTS = "HF1002", "ca_exists",
        "There is a certificate authority in this folder already",
        "ca init or ca import was run twice",
        "use the one that is there (handfast ca status), or give another folder with --dir";
    CA_LOCKED = "HF1003", "ca_locked",
        "Another process works with this certificate authority",
        "two commands at the same time, or one that hangs",
        "wait until the named process is done, then run the command again";
    CA_FILE = "HF1004", "ca_file",
        "A file of the certificate authority cannot be read or written",
        "the disk is full, or the permissions were changed",
        "look at it with: ls -l PATH; df -h PATH";
    CA_BROKEN = "HF1005", "ca_broken",
        "The folder of the certificate authority contradicts itself",
        "a file was replaced, restored from another backup or edited by hand",
        "restore the whole folder from one backup";
    LEDGER_FAILED = "HF1006", "ledger_failed",
        "The ledger of issued certificates cannot be read or written",
        "the file is damaged, or the disk failed",
        "restore the folder from a backup; nothing that was not recorded was handed out";
    LEDGER_FULL = "HF1007", "ledger_full",
        "The disk is full, so nothing was issued",
        "a certificate that cannot be recorded is not handed out",
        "free some space and run the command again";
    LEDGER_NEWER = "HF1008", "ledger_newer",
        "The ledger was written by a newer Handfast",
        "an older binary is used on this folder",
        "update this binary";
    KEY_UNREADABLE = "HF1009", "key_unreadable",
        "The private key cannot be used",
        "the file holds no private key, is damaged, or is of a kind that is not supported",
        "convert it with: openssl pkcs8 -topk8 -nocrypt -in OLD.key -out NEW.key";
    KEY_WEAK = "HF1010", "key_weak",
        "The key is too weak",
        "RSA below 2048 bits can be broken",
        "make a new key: P-256 is the default everywhere";
    KEY_PASSWORD = "HF1011", "key_password",
        "The private key is encrypted, and the password is missing or wrong",
        "no --password-file was given, or it is for another key",
        "give the password with --password-file FILE";
    KEY_MISMATCH = "HF1012", "key_mismatch",
        "The private key does not belong to the certificate",
        "files of two certificates were mixed up",
        "look for the pair with the same public key: openssl pkey -pubout -in KEY; openssl x509 -pubkey -noout -in CRT";
    KEY_EXPOSED = "HF1013", "key_exposed",
        "Others on this machine may read the private key",
        "the file's permissions are too wide",
        "close it with: chmod 600 KEY; and think of the key as stolen if others had access";
    REQUEST_REFUSED = "HF1014", "request_refused",
        "The certificate that is asked for cannot be issued",
        "a name, the usage or the lifetime is wrong",
        "correct the request; see: handfast cert issue --help";
    CSR_INVALID = "HF1015", "csr_invalid",
        "The certificate signing request cannot be used",
        "it is damaged, its own signature is wrong, or its key or signature is of a kind that is not taken",
        "make a new one with: openssl req -new -key KEY -subj /CN=NAME";
    NAME_NOT_PERMITTED = "HF1016", "name_not_permitted",
        "The issuer's name constraints do not permit this name",
        "the authority was limited to other domains or networks, and no client would accept the certificate",
        "ask for a permitted name, or make an authority without this limit";
    ISSUER_EXPIRED = "HF1017", "issuer_expired",
        "The issuing authority has expired",
        "it was not rotated in time",
        "rotate it: handfast ca rotate start";
    CLOCK_WRONG = "HF1018", "clock_wrong",
        "The clock of this machine is wrong",
        "the time is before the authority was made",
        "set the clock (timedatectl), then run the command again";
    ROOT_OFFLINE = "HF1019", "root_offline",
        "The root key is not here",
        "the folder root/ was taken offline, as it should be, but this step needs it",
        "bring the root folder back for this step, then take it away again";
    CERTIFICATE_UNKNOWN = "HF1020", "certificate_unknown",
        "No such certificate in the ledger",
        "the name or serial is misspelt, or another authority issued it",
        "see what was issued with: handfast cert list";
    ALREADY_REVOKED = "HF1021", "already_revoked",
        "The certificate is revoked already",
        "it was revoked earlier",
        "nothing; the revocation list holds it";
    ROTATION_REFUSED = "HF1022", "rotation_refused",
        "This step of the rotation is not safe now",
        "an earlier step is missing, or something still depends on the old authority",
        "see where it stands with: handfast ca rotate status";
    AUTHORITY_UNUSABLE = "HF1023", "authority_unusable",
        "The certificate cannot be used as an authority",
        "it is no CA certificate, may not sign certificates, or its path length forbids what is needed",
        "give a certificate with basicConstraints CA:TRUE and keyUsage keyCertSign";
    SIGNING_FAILED = "HF1024", "signing_failed",
        "The certificate could not be signed",
        "the key or a name cannot be encoded",
        "report it with the whole output and the version: handfast --version";
    RELOAD_FAILED = "HF1025", "reload_failed",
        "What uses the certificate could not be told to reload",
        "the signal, the command or the HTTP hook failed",
        "try the hook by hand; the new certificate is in place";
    AMBIGUOUS_NAME = "HF1026", "ambiguous_name",
        "More than one certificate has this name",
        "it was issued several times",
        "give the serial number: handfast cert list";
    // HF1100 - HF1199: files with certificates and keys, and what is found in them.
    CERTIFICATE_UNREADABLE = "HF1100", "certificate_unreadable",
        "A certificate cannot be understood",
        "the file is damaged, cut off, or holds something else",
        "look at it with: handfast cert inspect FILE";
    NOT_AN_AUTHORITY = "HF1101", "not_an_authority",
        "A certificate that should be an authority's is a leaf",
        "a server's or client's certificate stands in a file of trusted authorities",
        "put the root there instead; to trust one leaf, pin its fingerprint";
    CRL_UNREADABLE = "HF1102", "crl_unreadable",
        "A revocation list cannot be used",
        "the file is damaged, is no CRL, or is of a kind that is not supported",
        "publish a full version 2 list: handfast ca crl";
    FORMAT_UNKNOWN = "HF1103", "format_unknown",
        "The file is in no format that is known",
        "it is another kind of file, or it is damaged",
        "see what it is with: file PATH; head -c 100 PATH";
    FORMAT_TOO_LARGE = "HF1104", "format_too_large",
        "The file is larger than is read",
        "it is no certificate file, or holds very many of them",
        "split it, or give the file with the certificates that are meant";
    PEM_MALFORMED = "HF1105", "pem_malformed",
        "A PEM section is broken",
        "the file was cut off, or edited or pasted with mistakes",
        "copy the file again from where it was made";
    STORE_DAMAGED = "HF1106", "store_damaged",
        "A PKCS#12 or JKS store is damaged",
        "the file was cut off or altered, for example copied in text mode",
        "copy it again in binary from where it was made";
    STORE_PASSWORD = "HF1107", "store_password",
        "The store does not open",
        "the password is missing or wrong",
        "give it in a file: --password-file PATH";
    STORE_UNSUPPORTED = "HF1108", "store_unsupported",
        "The store or key is protected in a way that is not read",
        "it was written by an old or unusual program",
        "convert it with the program that wrote it, to PKCS#12 with AES";
    FORMAT_UNWRITABLE = "HF1109", "format_unwritable",
        "This cannot be written in that format",
        "a part that the format needs is missing, or a name is too long",
        "choose another format: handfast cert export --format pem";
    NO_CERTIFICATE = "HF1110", "no_certificate",
        "There is no certificate in the file",
        "another file was meant, such as the key or the request",
        "see what the file holds with: handfast cert inspect FILE";
    SERVED_CHAIN_NOT_TAKEN = "HF1111", "served_chain_not_taken",
        "The certificate of a server could not be fetched",
        "nobody listens there, it does not speak TLS, or it needs --starttls",
        "check the address; for mail and databases name the protocol: --starttls smtp";
    LINT_NO_SAN = "HF1120", "lint_no_san",
        "The certificate has no subject alternative name",
        "it was made with a common name only, which clients have ignored since 2017",
        "issue one with names: handfast cert issue --server NAME --dns NAME";
    LINT_INTERMEDIATE_MISSING = "HF1121", "lint_intermediate_missing",
        "The chain lacks an intermediate",
        "the file holds the leaf only",
        "append the issuer's certificate: cat leaf.crt intermediate.crt > chain.crt";
    LINT_KEY_MISMATCH = "HF1122", "lint_key_mismatch",
        "The private key does not belong to the certificate",
        "the certificate was renewed with a new key, or files were mixed up",
        "take the key that the certificate was made with, or issue a new pair";
    LINT_CA_AS_LEAF = "HF1123", "lint_ca_as_leaf",
        "The first certificate is an authority's",
        "openssl req -x509 makes authorities by default, or the chain is in the wrong order",
        "issue a leaf: handfast cert issue --server NAME";
    LINT_WEAK_KEY = "HF1124", "lint_weak_key",
        "A key is too weak",
        "RSA below 2048 bits, or a curve that TLS libraries refuse",
        "issue a new one with a P-256 key: handfast cert issue --key p256";
    LINT_WEAK_SIGNATURE = "HF1125", "lint_weak_signature",
        "A certificate is signed with an algorithm that can be forged",
        "its authority still uses SHA-1 or MD5",
        "issue a new one from an authority that signs with SHA-256 or better";
    LINT_LIFE_TOO_LONG = "HF1126", "lint_life_too_long",
        "The certificate lives too long",
        "Apple's clients refuse server certificates of more than 825 days, public ones of more than 398",
        "issue a shorter one and renew it by itself: handfast cert renew --daemon";
    LINT_X509_V1 = "HF1127", "lint_x509_v1",
        "A certificate is X.509 version 1",
        "openssl x509 -req without -extfile makes such certificates",
        "issue a version 3 certificate: handfast cert issue";
    LINT_EXPIRED = "HF1128", "lint_expired",
        "A certificate has expired",
        "it was not renewed in time",
        "renew it: handfast cert renew NAME";
    LINT_EXPIRING = "HF1129", "lint_expiring",
        "A certificate expires soon",
        "less than a third of its life is left",
        "renew it: handfast cert renew NAME, or let it renew itself: handfast cert renew --daemon";
    LINT_NOT_YET_VALID = "HF1130", "lint_not_yet_valid",
        "A certificate is not valid yet",
        "a clock is wrong, or it was issued for later",
        "compare the clocks with: date -u";
    LINT_CHAIN_ORDER = "HF1131", "lint_chain_order",
        "The chain is in the wrong order, or holds a stranger",
        "each certificate must be followed by its issuer's (RFC 5246, section 7.4.2)",
        "write the file anew: leaf, its issuer, that one's issuer";
    LINT_NEEDLESS_ROOT = "HF1132", "lint_needless_root",
        "The chain holds the root",
        "a peer must have the root already, so sending it is wasted in every handshake",
        "take the root out of the chain file";
    LINT_WILDCARD = "HF1133", "lint_wildcard",
        "A wildcard will not match as it seems to",
        "a wildcard stands for one whole first label, and not directly below a top-level domain",
        "name the hosts, or use *.example.com";
    LINT_NAME_MALFORMED = "HF1134", "lint_name_malformed",
        "A DNS name is malformed",
        "underscores, spaces, addresses or schemes do not belong into a DNS name",
        "issue one with host names under DNS, addresses under IP";
    LINT_COMMON_NAME = "HF1135", "lint_common_name",
        "The common name is not among the alternative names",
        "clients look at the alternative names only",
        "issue one that has the name under DNS as well";
    LINT_SPIFFE_NAMES = "HF1136", "lint_spiffe_names",
        "A SPIFFE certificate has more than one URI",
        "exactly one URI is allowed beside a SPIFFE identity (X.509-SVID, section 2)",
        "issue one with the SPIFFE identity as its only URI";
    LINT_SELF_SIGNED = "HF1137", "lint_self_signed",
        "The leaf is signed by itself",
        "openssl req -x509 makes such certificates; they cannot be revoked or rotated apart from trust",
        "make an authority and issue from it: handfast ca init; handfast cert issue --server NAME";
    LINT_USAGE = "HF1138", "lint_usage",
        "The key usage does not fit TLS",
        "a leaf must be allowed to sign (digitalSignature), an authority to sign certificates (keyCertSign)",
        "issue one with the right usage: handfast cert issue";
    LINT_MALFORMED = "HF1139", "lint_malformed",
        "A certificate breaks the standard",
        "the program that made it has a defect",
        "issue it anew with: handfast cert issue";
    EXPORT_KEY_MISSING = "HF1140", "export_key_missing",
        "The private key that this format needs is not there",
        "only the certificate was given",
        "name the key with: --key FILE";
    LINT_SPIFFE_USAGE = "HF1141", "lint_spiffe_usage",
        "A SPIFFE certificate is for one end of a connection only",
        "its extended key usage lacks serverAuth or clientAuth (X.509-SVID, section 4.4)",
        "issue one for both: handfast cert issue NAME --both";
}
