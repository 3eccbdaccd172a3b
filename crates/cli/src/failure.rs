//! How a command fails: one form for every error, and the documented exit codes.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use model::codes::{self, Code, Coded};

/// Exit code 0: done, and nothing was found.
pub const EXIT_OK: u8 = 0;
/// Exit code 1: the command failed.
pub const EXIT_FAILED: u8 = 1;
/// Exit code 2: the command line or a file's content is wrong; nothing was started.
pub const EXIT_USAGE: u8 = 2;
/// Exit code 3: the command worked, and what it checked has findings.
pub const EXIT_FINDINGS: u8 = 3;

/// What a command answers: the exit code, or a failure that `main` prints.
pub type Outcome = Result<u8, Failure>;

/// An error as a person sees it: code, what happened, the evidence, the likely cause, the fix.
pub struct Failure {
    code: &'static Code,
    what: String,
    evidence: Vec<(&'static str, String)>,
    fix: Option<String>,
    drawn: Option<String>,
    exit: u8,
}

impl Failure {
    /// A failure with a code and one sentence about this very case.
    pub fn new(code: &'static Code, what: impl fmt::Display) -> Self {
        Self { code, what: what.to_string(), evidence: Vec::new(), fix: None, drawn: None, exit: EXIT_FAILED }
    }

    /// A wrong command line or input: exit code 2.
    pub fn usage(what: impl fmt::Display) -> Self {
        Self::new(&codes::usage::USAGE, what).exit(EXIT_USAGE)
    }

    /// A file that could not be read, with the operating system's reason.
    pub fn reading(path: &Path, error: &std::io::Error) -> Self {
        Self::new(&codes::usage::FILE_NOT_READ, format!("cannot read {}: {error}", path.display()))
    }

    /// A file that could not be written, with the operating system's reason.
    pub fn writing(path: &Path, error: &std::io::Error) -> Self {
        Self::new(&codes::usage::FILE_NOT_WRITTEN, format!("cannot write {}: {error}", path.display()))
    }

    /// Adds a fact that lets a person check the claim.
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.evidence.push((name, value.to_string()));
        self
    }

    /// Replaces the code's general fix by one for this case.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Sets the exit code.
    pub fn exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    /// What happened, without its evidence, to be part of another sentence.
    pub fn sentence(&self) -> String {
        without_keys(&self.what).into_owned()
    }

    /// Prints the failure to stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // Where nobody reads stderr any more, the exit code still says it.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), self.to_string().as_bytes());
        ExitCode::from(self.exit)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(drawn) = &self.drawn {
            return writeln!(f, "{}", without_keys(drawn.trim_end()));
        }
        let (bold, red, reset) = crate::output::colours_for_stderr();
        writeln!(f, "{red}error[{}]{reset}{bold}: {}{reset}", self.code.id, without_keys(&self.what))?;
        let mut facts = String::new();
        for (name, value) in &self.evidence {
            writeln!(facts, "  {name}: {}", without_keys(value))?;
        }
        f.write_str(&facts)?;
        writeln!(f, "  cause: {}", self.code.cause)?;
        writeln!(f, "  fix:   {}", self.fix.as_deref().unwrap_or(self.code.fix))
    }
}

/// The text without any private key in PEM that was pasted into a file or an argument: errors quote what
/// they are about, and a terminal's output ends up in tickets (invariant 9).
fn without_keys(text: &str) -> Cow<'_, str> {
    const KEY: &str = "PRIVATE KEY-----";
    let Some(label) = text.find(KEY) else { return Cow::Borrowed(text) };
    let start = text[..label].rfind("-----BEGIN").unwrap_or(label);
    // The end line has the same words; a text that was cut before it is cut here.
    let after = &text[label + KEY.len()..];
    let rest = after.find(KEY).map_or("", |end| &after[end + KEY.len()..]);
    Cow::Owned(format!("{}(a private key, not shown){}", &text[..start], without_keys(rest)))
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        // The chain of sources belongs to the evidence: the outermost sentence alone often hides the reason.
        let mut what = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            let text = inner.to_string();
            if !what.contains(&text) {
                let _ = write!(what, ": {text}");
            }
            source = inner.source();
        }
        Self {
            code: error.code(),
            what,
            evidence: error.evidence(),
            fix: Coded::fix(&error),
            drawn: error.drawn(!crate::output::colours_for_stderr().0.is_empty()),
            exit: if error.is_usage() { EXIT_USAGE } else { EXIT_FAILED },
        }
    }
}
