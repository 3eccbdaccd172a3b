//! Codes of configuration, from handfast.yaml or nginx.conf (HF2xxx).

super::table! {
    YAML_SYNTAX = "HF2001", "yaml_syntax",
        "The file is not valid YAML",
        "wrong indentation, a missing quote or a missing colon",
        "mend the line shown; check with: handfast config validate FILE";
    UNKNOWN_KEY = "HF2002", "config_unknown_key",
        "A key is not known here",
        "it is misspelt, or stands at the wrong level",
        "see the keys with: handfast config schema";
    INVALID_VALUE = "HF2003", "config_invalid_value",
        "A value is not understood",
        "it has the wrong form, or is out of range",
        "see what is expected with: handfast config schema";
    MISSING_KEY = "HF2004", "config_missing_key",
        "A key that is needed is missing",
        "it was left out or is misspelt",
        "add it; see the keys with: handfast config schema";
    UNKNOWN_NAME = "HF2005", "config_unknown_name",
        "A name refers to nothing",
        "the service, host or variable of this name is not defined, or is misspelt",
        "define it, or mend the name";
    DUPLICATE = "HF2006", "config_duplicate",
        "Something is defined twice",
        "two entries have the same name or the same address",
        "rename or remove one of the two";
    CONTRADICTION = "HF2007", "config_contradiction",
        "Two settings exclude each other",
        "only one of them can be in force",
        "keep the one that is meant";
    FILE_MISSING = "HF2008", "config_file_missing",
        "A file that the configuration names cannot be read",
        "the path is wrong, or this user may not read it; paths are relative to the configuration's folder",
        "check with: ls -l PATH; or leave files out of the check: handfast config validate --no-files FILE";
    UNSAFE = "HF2009", "config_unsafe",
        "A setting would open what must stay closed",
        "an admin port outside of loopback, or a policy that lets everybody in",
        "choose the safe value that is named beside this code";
    TOO_LARGE = "HF2010", "config_too_large",
        "The configuration is larger or more deeply nested than allowed",
        "a wrong file, or an include that repeats itself",
        "split the file, or check what is included";
    FORMAT_VERSION = "HF2011", "config_format_version",
        "The version of the file's format is not known",
        "the file was written for a later Handfast, or does not begin with version: 1",
        "begin the file with: version: 1";
    NGINX_SYNTAX = "HF2020", "nginx_syntax",
        "The file is not valid nginx configuration",
        "a missing semicolon, brace or quote",
        "mend the line shown; check with: handfast config validate FILE";
    UNKNOWN_DIRECTIVE = "HF2021", "nginx_unknown_directive",
        "A directive is not known to nginx or Handfast",
        "it is misspelt, or belongs to a module of a third party",
        "mend its name, or take it out";
    UNSUPPORTED_DIRECTIVE = "HF2022", "nginx_unsupported_directive",
        "Handfast does not carry out this nginx directive",
        "it has no counterpart here, and leaving it out silently could change who gets in or what is answered",
        "take it out, or express it with what docs/nginx.md lists";
    MISPLACED_DIRECTIVE = "HF2023", "nginx_misplaced_directive",
        "A directive stands where it is not allowed",
        "it belongs to another block",
        "move it to one of the blocks that are named beside this code";
    WRONG_ARGUMENTS = "HF2024", "nginx_wrong_arguments",
        "A directive has too many or too few arguments",
        "an argument is missing, or a semicolon is missing at the end of the line",
        "mend the arguments";
    NGINX_VALUE = "HF2025", "nginx_invalid_value",
        "An argument of a directive is not understood",
        "it has the wrong form, or is out of range",
        "mend the argument shown";
    UNKNOWN_VARIABLE = "HF2026", "config_unknown_variable",
        "A variable is not known",
        "it is misspelt, or belongs to a module that has no counterpart here",
        "see docs/variables.md for those that are known, or define it with a map";
    UNSUPPORTED_REGEX = "HF2027", "config_unsupported_regex",
        "A regular expression uses what Handfast's linear-time engine refuses",
        "look-around and back-references can take exponential time, which an attacker could use",
        "write it without (?=, (?!, (?<, \\1 and possessive quantifiers; two locations or a map often do";
    NO_CIPHER_LEFT = "HF2028", "config_no_cipher_left",
        "None of the listed ciphers, groups or versions is available",
        "the list names only what is obsolete: CBC, RC4, 3DES, static RSA or finite-field Diffie-Hellman",
        "remove the directive; the default is what Mozilla calls intermediate, without its CBC suites";
    INCLUDE = "HF2029", "config_include",
        "A file cannot be included",
        "it does not exist, includes itself, or is nested too deeply",
        "check the path; it is relative to the folder of the main file";
    UNKNOWN_KIND = "HF2030", "config_unknown_kind",
        "It is not clear whether this is handfast.yaml or nginx.conf",
        "neither the file's name nor its content tells",
        "name it *.yaml, *.json or *.conf";
}
