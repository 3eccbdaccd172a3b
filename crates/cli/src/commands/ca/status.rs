//! `handfast ca status`: what the authority is, what it issued, what ends soon, what is wrong with it.

use certs::{Authority, Layout, Status, rotate};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::commands::Globals;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Outcome};
use crate::output;

/// Arguments of `handfast ca status`.
#[derive(clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Document {
    version: u8,
    dir: String,
    trust_domain: String,
    authorities: Vec<Member>,
    revocation_lists: Vec<List>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<Rotation>,
    issued: Counts,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Member {
    name: String,
    state: String,
    subject: String,
    serial: String,
    not_after: String,
    key: &'static str,
}

#[derive(Serialize)]
struct List {
    authority: String,
    number: u64,
    next_update: String,
}

#[derive(Serialize)]
struct Rotation {
    subject: &'static str,
    step: &'static str,
    since: String,
    from: String,
    to: String,
}

#[derive(Default, Serialize)]
struct Counts {
    valid: usize,
    expired: usize,
    revoked: usize,
}

/// Runs `handfast ca status`.
pub fn run(_args: Args, globals: &Globals) -> Outcome {
    let now = OffsetDateTime::now_utc();
    let ledger = Authority::open_ledger(&globals.dir)?;
    let layout = Layout::new(&globals.dir);
    let mut warnings: Vec<String> =
        ledger.damage()?.into_iter().map(|line| format!("the ledger is damaged: {line}")).collect();
    warnings.extend(open_folders(&layout));
    let mut authorities = Vec::new();
    for member in certs::members(&ledger)? {
        let (end, key) = (member.certificate.not_after, layout.key(&member.name));
        let soon = (end - member.certificate.not_before) / 5;
        if member.state != "retired" && now >= end {
            warnings.push(format!("{} has expired; rotate it: handfast ca rotate start", member.name));
        } else if member.state == "active" && now >= end - soon {
            warnings.push(format!("{} ends at {}; rotate it in time", member.name, certs::rfc3339(end)));
        }
        let place = match key.exists() {
            true => "here",
            false if member.name.starts_with("root") => "offline",
            false => "missing",
        };
        if place == "missing" && member.state == "active" {
            warnings.push(format!("{} is missing, so nothing can be issued", key.display()));
        }
        if place == "here"
            && member.state != "retired"
            && let Err(error) = certs::check_key(&layout, &member)
        {
            warnings.push(error.to_string());
        }
        let record = ledger.by_serial(&member.certificate.serial)?;
        if let Some((at, _)) = record.and_then(|record| record.revoked)
            && member.state == "active"
        {
            warnings.push(format!(
                "{} was revoked at {}, so nothing it issues is accepted; rotate it: handfast ca rotate start",
                member.name,
                certs::rfc3339(at)
            ));
        }
        authorities.push(Member {
            name: member.name,
            state: member.state,
            subject: member.certificate.subject,
            serial: member.certificate.serial.to_string(),
            not_after: certs::rfc3339(end),
            key: place,
        });
    }
    let mut revocation_lists = Vec::new();
    let lists = Authority::lists(&ledger, now)?;
    let all: String = lists.iter().map(certs::List::to_pem).collect();
    match std::fs::read_to_string(layout.crl()) {
        Ok(found) if found == all => {}
        Ok(_) => warnings.push(format!(
            "{} does not hold the newest revocation lists; write it: handfast ca crl",
            layout.crl().display()
        )),
        Err(error) => warnings
            .push(format!("{} cannot be read ({error}); write it: handfast ca crl", layout.crl().display())),
    }
    for list in lists {
        if list.outdated {
            warnings.push(format!(
                "a certificate was revoked that is not on the list of {} yet; publish it: handfast ca crl",
                list.authority
            ));
        }
        if list.retired {
            // Its root's key is away, as it should be; what it signed is trusted by few, and by fewer soon.
        } else if now >= list.next_update {
            warnings.push(format!(
                "the revocation list of {} is stale; renew it: handfast ca crl",
                list.authority
            ));
        } else if now >= list.next_update - Duration::days(1) {
            warnings.push(format!("the revocation list of {} ends within a day", list.authority));
        }
        revocation_lists.push(List {
            authority: list.authority,
            number: list.number,
            next_update: certs::rfc3339(list.next_update),
        });
    }
    let mut issued = Counts::default();
    for record in ledger.records()?.iter().filter(|record| record.kind == certs::RecordKind::Leaf) {
        match record.status(now) {
            Status::Valid => issued.valid += 1,
            Status::Expired => issued.expired += 1,
            Status::Revoked => issued.revoked += 1,
        }
    }
    let document = Document {
        version: 1,
        dir: globals.dir.display().to_string(),
        trust_domain: ledger.setting("trust_domain")?.unwrap_or_default(),
        authorities,
        revocation_lists,
        rotation: rotate::current(&ledger)?.map(|rotation| Rotation {
            subject: rotation.subject.as_str(),
            step: rotation.step.as_str(),
            since: certs::rfc3339(rotation.since),
            from: rotation.old_issuer,
            to: rotation.new_issuer,
        }),
        issued,
        warnings,
    };
    output::print(globals.output, &document, || table(&document))?;
    Ok(if document.warnings.is_empty() { EXIT_OK } else { EXIT_FINDINGS })
}

/// The folders into which others may write: they could swap keys and lists.
fn open_folders(layout: &Layout) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let folders = ["", "authorities", "root", "crl", "certs"].map(|name| layout.dir().join(name));
    let open = folders.iter().filter_map(|path| {
        let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
        (mode & 0o022 != 0).then(|| {
            let path = path.display();
            format!("{path} has mode {mode:04o}: others may write into it; close it: chmod 700 {path}")
        })
    });
    open.collect()
}

fn table(document: &Document) -> String {
    let rows: Vec<Vec<String>> = document
        .authorities
        .iter()
        .map(|m| {
            vec![m.name.clone(), m.state.clone(), m.not_after.clone(), m.key.to_owned(), m.subject.clone()]
        })
        .collect();
    let mut text = format!("{} (trust domain {})\n\n", document.dir, document.trust_domain);
    text.push_str(&output::columns(&["AUTHORITY", "STATE", "VALID UNTIL", "KEY", "SUBJECT"], &rows));
    let rows: Vec<Vec<String>> = document
        .revocation_lists
        .iter()
        .map(|list| vec![list.authority.clone(), list.number.to_string(), list.next_update.clone()])
        .collect();
    text.push('\n');
    text.push_str(&output::columns(&["REVOCATION LIST", "NUMBER", "NEXT UPDATE"], &rows));
    let issued = &document.issued;
    text.push_str(&format!(
        "\nissued: {} valid, {} expired, {} revoked\n",
        issued.valid, issued.expired, issued.revoked
    ));
    if let Some(rotation) = &document.rotation {
        text.push_str(&format!(
            "rotation of the {}: {} since {} ({} -> {})\n",
            rotation.subject, rotation.step, rotation.since, rotation.from, rotation.to
        ));
    }
    for warning in &document.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}
