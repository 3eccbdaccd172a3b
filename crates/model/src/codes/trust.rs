//! Codes of trust stores (HF6xxx).

super::table! {}
