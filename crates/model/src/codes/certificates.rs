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
        "it is damaged, its own signature is wrong, or its key is not supported",
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
}
