//! Every stable code (`HF1234`) that Handfast prints, logs or counts, with its meaning, likely cause
//! and fix. Errors of the other crates name their code through [`Coded`]; `handfast explain HF1234`
//! and the reference page are printed from these tables, so that no code is without an explanation.
//!
//! | range  | subject                                   | table            |
//! |--------|-------------------------------------------|------------------|
//! | HF1xxx | keys, certificates, the CA and its store  | [`certificates`] |
//! | HF2xxx | configuration: handfast.yaml, nginx.conf  | [`configuration`]|
//! | HF3xxx | a connection or request that was refused  | [`refusals`]     |
//! | HF4xxx | serving: sockets, upstreams, reloads      | [`serving`]      |
//! | HF5xxx | findings of `handfast test` and `explain` | [`findings`]     |
//! | HF6xxx | trust stores of the system, NSS and Java  | [`trust`]        |
//! | HF71xx | Kubernetes manifests, and their wiring    | [`manifests`]    |
//! | HF7xxx | Kubernetes, but for manifests              | [`kube`]         |
//! | HF8xxx | the mesh                                  | [`mesh`]         |
//! | HF9xxx | usage and the environment                 | [`usage`]        |

pub mod certificates;
pub mod configuration;
pub mod findings;
pub mod kube;
pub mod manifests;
pub mod mesh;
pub mod refusals;
pub mod serving;
pub mod trust;
pub mod usage;

#[cfg(test)]
mod tests;

/// What a code means. The texts are sentences for people; the code is for machines and never changes.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `HF` and four digits.
    pub id: &'static str,
    /// A label for metrics and JSON: lower case words joined by `_`.
    pub label: &'static str,
    /// What happened, in one sentence without a full stop.
    pub title: &'static str,
    /// The most likely cause, in plain words.
    pub cause: &'static str,
    /// What to do; a command that can be copied where there is one.
    pub fix: &'static str,
}

/// An error that names its code and its evidence.
pub trait Coded: std::error::Error {
    /// The entry of the table that explains this error.
    fn code(&self) -> &'static Code;

    /// Facts that let a person check the claim: names, serials, dates, paths. Never key material.
    fn evidence(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// A fix for this very case, where it is better than the code's general one.
    fn fix(&self) -> Option<String> {
        None
    }

    /// The whole error drawn for a terminal, for errors in a file: its lines with carets under what is wrong.
    /// It is then printed in place of the one-sentence form.
    fn drawn(&self, _colours: bool) -> Option<String> {
        None
    }

    /// Whether what a person wrote is at fault, and nothing was started: exit code 2.
    fn is_usage(&self) -> bool {
        false
    }
}

/// All codes, by table.
pub fn all() -> impl Iterator<Item = &'static Code> {
    [
        certificates::ALL,
        configuration::ALL,
        refusals::ALL,
        serving::ALL,
        findings::ALL,
        manifests::ALL,
        trust::ALL,
        kube::ALL,
        mesh::ALL,
        usage::ALL,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Finds a code by its id, in any case: `HF3001`, `hf3001`.
pub fn find(id: &str) -> Option<&'static Code> {
    all().find(|code| code.id.eq_ignore_ascii_case(id.trim()))
}

/// Declares the constants of one table and the list of them all.
macro_rules! table {
    ($($name:ident = $id:literal, $label:literal, $title:literal, $cause:literal, $fix:literal;)*) => {
        $(
            #[doc = concat!($id, ": ", $title, ".")]
            pub static $name: super::Code = super::Code {
                id: $id, label: $label, title: $title, cause: $cause, fix: $fix,
            };
        )*
        /// Every code of this table, in the order of its number.
        pub static ALL: &[&super::Code] = &[$(&$name),*];
    };
}
pub(crate) use table;
