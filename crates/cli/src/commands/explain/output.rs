//! How explanations are printed: a ladder, a cause or a code.

use model::codes::Code;
use probe::alert::Alert;
use probe::explain::ladder::{Ladder, State};
use probe::explain::texts::Cause;

use crate::failure::Failure;
use crate::output::{self, Format};

pub(super) fn code(code: &Code, format: Format) -> Result<(), Failure> {
    let document = serde_json::json!({
        "version": 1, "kind": "code", "id": code.id, "label": code.label, "title": code.title,
        "cause": code.cause, "fix": code.fix,
    });
    output::print(format, &document, || {
        let Code { id, label, title, cause, fix } = code;
        format!("{id} ({label}): {title}\n  cause: {cause}\n  fix:   {fix}\n")
    })
}

pub(super) fn cause(cause: &Cause, alert: Option<Alert>, format: Format) -> Result<(), Failure> {
    let document = serde_json::json!({
        "version": 1, "kind": "text", "id": cause.id, "title": cause.title, "cause": cause.cause,
        "fix": cause.fix, "commands": cause.commands,
        "alert": alert.map(|alert| serde_json::json!({ "number": alert.0, "name": alert.name() })),
    });
    output::print(format, &document, || {
        let mut text = format!("{}\n  cause: {}\n  fix:   {}\n", cause.title, cause.cause, cause.fix);
        if let Some(alert) = alert.filter(|alert| alert.name() != "unknown") {
            text.push_str(&format!("  alert: {alert}: {}\n", alert.meaning()));
        }
        for command in cause.commands {
            text.push_str(&format!("  try:   {command}\n"));
        }
        text
    })
}

pub(super) fn alert(alert: Alert, format: Format) -> Result<(), Failure> {
    let document = serde_json::json!({
        "version": 1, "kind": "alert", "number": alert.0, "name": alert.name(), "meaning": alert.meaning(),
    });
    output::print(format, &document, || format!("TLS alert {alert}: {}\n", alert.meaning()))
}

pub(super) fn ladder(ladder: &Ladder, format: Format) -> Result<(), Failure> {
    output::print(format, ladder, || table(ladder, output::colours_stdout()))
}

fn table(ladder: &Ladder, colour: bool) -> String {
    let paint = |code: &str, text: &str| match colour {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let mut out = format!("{} as {}\n\n", ladder.target, ladder.servername);
    for step in &ladder.steps {
        let mark = match step.state {
            State::Ok => paint("32", "ok  "),
            State::Failed => paint("1;31", "FAIL"),
            State::Absent => paint("2", "--  "),
            State::NotReached => paint("2", "    "),
        };
        let at = step.at_milliseconds.map_or_else(String::new, |at| format!("{at:8.1} ms"));
        out.push_str(&format!("{mark}  {:20} {at:>11}\n", step.title));
        for (name, value) in &step.facts {
            out.push_str(&wrapped(name, value));
        }
    }
    out.push('\n');
    for (index, trouble) in ladder.troubles.iter().enumerate() {
        let word = if index == 0 { "the first thing that is wrong" } else { "then" };
        let head = format!("{word}: {} [{}]", trouble.what, trouble.code);
        out.push_str(&format!(
            "{}\n  cause: {}\n  fix:   {}\n",
            paint("1", &head),
            trouble.cause,
            trouble.fix
        ));
    }
    if ladder.troubles.is_empty() {
        out.push_str("nothing is wrong\n");
    }
    out
}

/// A fact below its step, wrapped at words.
fn wrapped(name: &str, value: &str) -> String {
    const WIDTH: usize = 84;
    let mut lines = vec![String::new()];
    for word in value.split(' ') {
        let full = lines.last().is_some_and(|line| !line.is_empty() && line.len() + 1 + word.len() > WIDTH);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let head = if index == 0 { name } else { "" };
        out.push_str(&format!("        {head:20}  {line}\n"));
    }
    out
}
