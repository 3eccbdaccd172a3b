//! Codes of keys, certificates, the certificate authority and its store (HF1xxx).

super::table! {}
