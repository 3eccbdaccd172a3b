//! Codes of what `handfast test` and `handfast explain` find (HF5xxx).

super::table! {}
