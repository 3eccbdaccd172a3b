//! Codes of usage and the environment (HF9xxx).

super::table! {
    USAGE = "HF9001", "usage",
        "The command line is not understood",
        "an option or argument is missing, misspelt or contradicts another",
        "see the usage with: handfast help COMMAND";
    FILE_NOT_READ = "HF9002", "file_not_read",
        "A file cannot be read",
        "the path is wrong, or this user may not read it",
        "check the path and its permissions with: ls -l PATH";
    FILE_NOT_WRITTEN = "HF9003", "file_not_written",
        "A file cannot be written",
        "the folder does not exist or is not writable, or the disk is full",
        "check the folder with: ls -ld FOLDER; df -h FOLDER";
    NOT_PERMITTED = "HF9004", "not_permitted",
        "The operating system does not permit this",
        "the command needs a right that this user does not have",
        "run it as root, or choose what this user may do (a port above 1023, a folder of its own)";
    INTERNAL = "HF9099", "internal",
        "Handfast failed in a way that it should not",
        "a defect in Handfast",
        "report it with the whole output and the version: handfast --version";
}
