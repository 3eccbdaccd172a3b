//! Codes of trust stores (HF6xxx).

super::table! {
    COMMAND_FAILED = "HF6001", "trust_command_failed",
        "A command of a trust store failed",
        "it needs root, or the store is locked or damaged",
        "run the shown command by hand; for the system and Java stores use sudo";
    NOT_A_ROOT = "HF6002", "trust_not_a_root",
        "Only a root belongs into a trust store",
        "an intermediate or a leaf was named",
        "give the root: handfast trust install --ca ca.crt";
    ROOT_KEY_EXPOSED = "HF6003", "root_key_exposed",
        "The root's private key can be read by others",
        "its permissions are too wide; whoever copies it can impersonate every site to this machine",
        "chmod 600 the key; make a new root if others had access";
}
