//! `handfast kube rbac check`: who can read each managed key today, and through which binding and rule.

use std::collections::{BTreeMap, BTreeSet};

use controller::rbac::{Ask, Subject, Way, built_in, detours, grant, named_detours, reads};
use kube::Client;
use model::codes::kube::{RBAC_REACHES, RBAC_READS};
use serde::Serialize;

use super::cluster::{self, Managed};
use super::{Place, review};
use crate::commands::Globals;
use crate::commands::kube::listing;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Failure, Outcome};
use crate::output;

/// Arguments of `handfast kube rbac check`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// Who may get at every one of these keys: user:NAME, group:NAME or sa:NAMESPACE/NAME. For one Secret alone, its
    /// annotation handfast.dev/readers says the same of reading.
    #[arg(long, env = "HANDFAST_EXPECT", value_delimiter = ',', value_name = "SUBJECT")]
    expect: Vec<String>,
    /// What makes the exit code 3: only direct reading, or detours too.
    #[arg(long, env = "HANDFAST_FAIL_ON", value_enum, default_value = "detour")]
    fail_on: FailOn,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    Read,
    Detour,
}

#[derive(Serialize)]
struct Document {
    version: u8,
    secrets: Vec<String>,
    subjects: usize,
    questions: usize,
    access: Vec<Row>,
    findings: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Row {
    namespace: String,
    /// Without names: every managed Secret of the namespace.
    secrets: Vec<String>,
    subject: String,
    way: &'static str,
    /// What is allowed, as in `get,list secrets`.
    may: Vec<String>,
    why: &'static str,
    granted_by: Vec<Source>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Source {
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_server: Option<String>,
}

/// Runs the check; exit code 3 when a subject can that should not.
pub(super) fn run(args: &Args, globals: &Globals) -> Outcome {
    let expected: BTreeSet<Subject> = super::subjects(&args.expect)?.into_iter().collect();
    listing::block(async {
        let client = args.place.cluster.client().await?;
        let secrets = cluster::secrets(&client, &args.place.namespace).await?;
        for secret in &secrets {
            for why in secret.readers.iter().filter_map(|reader| reader.as_ref().err()) {
                eprintln!("warning: an annotation of Secret {}/{}: {why}", secret.namespace, secret.name);
            }
        }
        let document = examine(&client, &secrets, &expected).await?;
        output::print(globals.output, &document, || table(&document))?;
        let reads: [&str; 2] = [Way::Read.label(), Way::Write.label()];
        let counts = |row: &&Row| args.fail_on == FailOn::Detour || reads.contains(&row.way);
        let failed = document.access.iter().filter(|row| row.code.is_some()).any(|row| counts(&row));
        Ok(if failed { EXIT_FINDINGS } else { EXIT_OK })
    })
}

async fn examine(
    client: &Client,
    secrets: &[Managed],
    expected: &BTreeSet<Subject>,
) -> Result<Document, Failure> {
    let namespaces: BTreeSet<&str> = secrets.iter().map(|secret| secret.namespace.as_str()).collect();
    let bindings = cluster::bindings(client, &namespaces).await?;
    // The controller, the kubelets and system:masters belong to the answer, bound or not.
    let mut everywhere: BTreeSet<Subject> = BTreeSet::from([
        Subject::Group("system:masters".to_owned()),
        Subject::ServiceAccount {
            namespace: controller::names::SYSTEM_NAMESPACE.to_owned(),
            name: controller::names::CONTROLLER.to_owned(),
        },
    ]);
    everywhere.extend(expected.iter().cloned());
    let bound = |place: Option<&str>| -> Vec<Subject> {
        let own = bindings.iter().filter(|binding| binding.namespace.as_deref() == place);
        own.flat_map(|binding| binding.subjects.iter().cloned()).collect()
    };
    everywhere.extend(bound(None));
    let mut questions: Vec<(Subject, Ask)> = Vec::new();
    let mut meanings: Vec<(Way, String, Option<String>)> = Vec::new();
    let mut subjects = everywhere.clone();
    for namespace in &namespaces {
        let own: Vec<&Managed> = secrets.iter().filter(|secret| secret.namespace == *namespace).collect();
        let names = own.iter().map(|secret| secret.name.as_str()).collect();
        let pods = cluster::holders(client, namespace, &names).await?;
        let mut asks: Vec<(Way, Ask, Option<String>)> = Vec::new();
        for secret in &own {
            let name = Some(secret.name.clone());
            asks.extend(
                reads(namespace, &secret.name).into_iter().map(|(way, ask)| (way, ask, name.clone())),
            );
        }
        let around = detours(namespace, &pods).into_iter().chain(named_detours(namespace, &bindings));
        asks.extend(around.map(|(way, ask)| (way, ask, None)));
        let mut here = everywhere.clone();
        here.extend(bound(Some(namespace)));
        here.extend(
            own.iter().flat_map(|secret| secret.readers.iter().filter_map(|r| r.as_ref().ok().cloned())),
        );
        subjects.extend(here.iter().cloned());
        for subject in here {
            for (way, ask, secret) in &asks {
                questions.push((subject.clone(), ask.clone()));
                meanings.push((*way, (*namespace).to_owned(), secret.clone()));
            }
        }
    }
    if questions.len() > 2000 {
        eprintln!("asking the API server {} questions about {} subjects", questions.len(), subjects.len());
    }
    let mut rows: BTreeMap<(Subject, Way, String, Option<String>), Row> = BTreeMap::new();
    for answer in review::ask_all(client, &questions).await? {
        let (subject, ask) = &questions[answer.index];
        let (way, namespace, secret) = &meanings[answer.index];
        let grants = grant(&bindings, subject, ask);
        // What a group gives is said of the group, once, where the group itself is among the subjects.
        let through_groups = !grants.is_empty()
            && grants.iter().all(|grant| grant.through != *subject && subjects.contains(&grant.through));
        if through_groups {
            continue;
        }
        let key = (subject.clone(), *way, namespace.clone(), secret.clone());
        let row = rows.entry(key).or_insert_with(|| Row {
            namespace: namespace.clone(),
            secrets: secret.iter().cloned().collect(),
            subject: subject.to_string(),
            way: way.label(),
            may: Vec::new(),
            why: way.why(),
            granted_by: Vec::new(),
            verdict: "expected",
            code: None,
            because: None,
        });
        let name =
            ask.name.as_ref().filter(|_| !way.is_direct()).map_or(String::new(), |name| format!(" {name}"));
        row.may.push(format!("{} {}{name}", ask.verb, ask.object()));
        let mut sources: Vec<Source> = grants
            .iter()
            .map(|grant| Source {
                binding: Some(grant.binding.clone()),
                role: Some(grant.role.clone()),
                rule: Some(grant.rule.clone()),
                api_server: None,
            })
            .collect();
        if sources.is_empty() {
            let reason = if answer.reason.is_empty() { "another authoriser" } else { &answer.reason };
            sources.push(Source {
                binding: None,
                role: None,
                rule: None,
                api_server: Some(reason.to_owned()),
            });
        }
        for source in sources {
            if !row.granted_by.contains(&source) {
                row.granted_by.push(source);
            }
        }
        let readers: Vec<&Subject> = secret
            .iter()
            .flat_map(|name| {
                secrets.iter().filter(move |own| own.namespace == *namespace && own.name == *name)
            })
            .flat_map(|own| own.readers.iter().filter_map(|reader| reader.as_ref().ok()))
            .collect();
        let because = if let Some(why) = built_in(subject, &grants) {
            Some(why.to_owned())
        } else if expected.contains(subject) {
            Some("expected by --expect".to_owned())
        } else if *way == Way::Read && readers.contains(&subject) {
            // The annotation speaks of reading; whoever may write could have written it too.
            Some("expected by the Secret's annotation".to_owned())
        } else {
            None
        };
        match because {
            Some(because) if row.code.is_none() => row.because = Some(because),
            _ => {
                row.verdict = "finding";
                row.because = None;
                row.code = Some(if way.is_direct() { RBAC_READS.id } else { RBAC_REACHES.id });
            }
        }
    }
    let access = joined(rows.into_values().collect());
    let findings = access.iter().filter(|row| row.code.is_some()).count();
    Ok(Document {
        version: 1,
        secrets: secrets.iter().map(|secret| format!("{}/{}", secret.namespace, secret.name)).collect(),
        subjects: subjects.len(),
        questions: questions.len(),
        access,
        findings,
    })
}

/// Rows that differ in the Secret alone become one.
fn joined(rows: Vec<Row>) -> Vec<Row> {
    let mut joined: BTreeMap<Row, Vec<String>> = BTreeMap::new();
    for mut row in rows {
        let secrets = std::mem::take(&mut row.secrets);
        joined.entry(row).or_default().extend(secrets);
    }
    let mut rows: Vec<Row> = joined.into_iter().map(|(row, secrets)| Row { secrets, ..row }).collect();
    rows.sort_by_key(|row| (row.code.is_none(), row.clone()));
    rows
}

fn table(document: &Document) -> String {
    if document.secrets.is_empty() {
        return "no managed Secrets\n".to_owned();
    }
    let rows: Vec<Vec<String>> = document
        .access
        .iter()
        .map(|row| {
            let secrets = if row.secrets.is_empty() { "(all)".to_owned() } else { row.secrets.join(",") };
            let sources: Vec<String> = row
                .granted_by
                .iter()
                .map(|source| match (&source.binding, &source.role, &source.rule, &source.api_server) {
                    (Some(binding), Some(role), Some(rule), _) => format!("{binding} -> {role}: {rule}"),
                    (_, _, _, reason) => reason.clone().unwrap_or_default(),
                })
                .collect();
            let verdict = row
                .code
                .map_or(format!("{}: {}", row.verdict, row.because.as_deref().unwrap_or("")), |code| {
                    format!("FINDING {code}")
                });
            vec![
                format!("{}/{secrets}", row.namespace),
                row.subject.clone(),
                row.way.to_owned(),
                row.may.join(", "),
                sources.join("; "),
                verdict,
            ]
        })
        .collect();
    let mut text = output::columns(&["SECRET", "SUBJECT", "WAY", "MAY", "GRANTED BY", "VERDICT"], &rows);
    text.push_str(&format!(
        "\n{} findings; {} subjects, {} Secrets, {} questions to the API server\nRights of groups are listed with the \
         group: who is in it is known to the identity provider alone.\n",
        document.findings,
        document.subjects,
        document.secrets.len(),
        document.questions
    ));
    text
}
