//! Codes of configuration, from handfast.yaml or nginx.conf (HF2xxx).

super::table! {}
