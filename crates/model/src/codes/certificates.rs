//! Codes of keys, certificates, the certificate authority and its store (HF1xxx).

super::table! {
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
