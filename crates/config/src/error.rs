//! What is wrong with a configuration: findings with their places, drawn with the file's lines and carets.

use std::fmt;
use std::path::Path;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report};
use model::codes::configuration as codes;
use model::codes::{Code, Coded};

use crate::source::Place;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The entry of the table of codes.
    pub code: &'static Code,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
    /// A few words under the caret.
    pub label: String,
    /// What to do; the code's general fix where empty.
    pub help: String,
}

impl Finding {
    /// A finding without a place.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), place: None, label: String::new(), help: String::new() }
    }

    /// Where it is.
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// A few words under the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// What to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// The finding with the lines around it, and carets under what is wrong.
    pub fn draw(&self, colours: bool) -> String {
        let mut theme = if colours { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        theme.characters.underline = '^';
        theme.characters.underbar = '^';
        let help = if self.help.is_empty() { self.code.fix } else { &self.help };
        let mut diagnostic = MietteDiagnostic::new(&self.message)
            .with_code(format!("error[{}]", self.code.id))
            .with_help(help);
        let source = self.place.as_ref().map(|place| {
            let label = (!self.label.is_empty()).then(|| self.label.clone());
            diagnostic.labels = Some(vec![LabeledSpan::new_primary_with_span(label, drawable(place))]);
            NamedSource::new(place.file().to_string_lossy(), place.source.text.clone())
        });
        let report = Report::new(diagnostic);
        let report = match source {
            Some(source) => report.with_source_code(source),
            None => report,
        };
        let mut drawn = String::new();
        let handler = GraphicalReportHandler::new_themed(theme).with_width(110);
        if handler.render_report(&mut drawn, report.as_ref()).is_err() {
            drawn = self.to_string();
        }
        drawn
    }
}

/// Only the first line of a long place is underlined, and an empty place gets one caret.
fn drawable(place: &Place) -> std::ops::Range<usize> {
    let text = place.source.text.get(place.span.clone()).unwrap_or_default();
    let first = text.lines().next().unwrap_or_default().trim_end();
    place.span.start..place.span.start + first.len()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Why a configuration was refused: at least one finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    findings: Vec<Finding>,
}

impl Error {
    /// An error from what was found; there must be something.
    pub fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// A file that could not be read.
    pub fn reading(path: &Path, error: &std::io::Error) -> Self {
        Finding::new(&codes::FILE_MISSING, format!("cannot read {}: {error}", path.display())).into()
    }

    /// All that is wrong, in the order of the file.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl From<Finding> for Error {
    fn from(finding: Finding) -> Self {
        Self { findings: vec![finding] }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        self.findings.first().map_or(&codes::INVALID_VALUE, |finding| finding.code)
    }

    fn fix(&self) -> Option<String> {
        self.findings.first().map(|finding| finding.help.clone()).filter(|help| !help.is_empty())
    }

    fn drawn(&self, colours: bool) -> Option<String> {
        let mut drawn: String = self.findings.iter().map(|finding| finding.draw(colours)).collect();
        if self.findings.len() > 1 {
            drawn.push_str(&format!("\n{} errors; nothing was started\n", self.findings.len()));
        }
        Some(drawn)
    }

    fn is_usage(&self) -> bool {
        true
    }
}

/// Something that a person should know about a configuration that is accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Whether it matters to security or behaviour (then it is a warning) or is for information.
    pub warning: bool,
    /// One sentence.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}
