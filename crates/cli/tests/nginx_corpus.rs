//! The corpus of nginx configurations in tests/nginx-corpus: each runs under Debian's nginx, under
//! `handfast serve FILE.conf` and under what `handfast config convert` makes of it, is asked the same requests,
//! and must answer the same. What is meant to differ is listed in the case, with the reason.
//!
//! `CORPUS=07` runs the cases whose folder begins with 07.

#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod nginx_corpus {
    pub mod ask;
    pub mod case;
    pub mod servers;
}

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nginx_corpus::ask::Answer;
use nginx_corpus::case::{self, Case};
use nginx_corpus::servers::{Backends, Server, Stand};

#[test]
fn every_configuration_answers_as_it_does_under_nginx() {
    if testkit::find_program("nginx").is_none() {
        testkit::skipped("nginx is not installed: the corpus of nginx configurations");
        return;
    }
    let wanted = std::env::var("CORPUS").unwrap_or_default();
    let cases: Vec<Case> = case::all().into_iter().filter(|case| case.name.starts_with(&wanted)).collect();
    assert!(!wanted.is_empty() || cases.len() >= 30, "only {} cases", cases.len());
    let backends = Backends::start();
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| compare(case, &backends)));
                    let found = found.unwrap_or_else(|panic| {
                        let text = panic.downcast_ref::<String>().map(String::as_str);
                        vec![text.unwrap_or("it panicked, see above").to_owned()]
                    });
                    if !found.is_empty() {
                        faults.lock().unwrap().insert(case.name.clone(), found);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    let report: String =
        faults.iter().map(|(name, found)| format!("\n== {name}\n{}\n", found.join("\n"))).collect();
    assert!(faults.is_empty(), "{} of {} cases differ:\n{report}", faults.len(), cases.len());
}

/// All differences of one case.
fn compare(case: &Case, backends: &Backends) -> Vec<String> {
    let mut faults = Vec::new();
    let nginx = answers(case, Server::Nginx, backends);
    for (request, answer) in case.requests.iter().zip(&nginx) {
        if answer.status != request.status {
            let want = request.status;
            faults.push(format!("{request}: the case says {want}, nginx answers {}", answer.status));
        }
    }
    for server in servers() {
        let ours = answers(case, server, backends);
        for ((request, theirs), ours) in case.requests.iter().zip(&nginx).zip(&ours) {
            faults.extend(
                difference(case, request, theirs, ours)
                    .into_iter()
                    .map(|text| format!("{server:?}: {request}: {text}")),
            );
        }
    }
    faults
}

/// `CORPUS_SERVERS=none` asks nginx only, to write a case.
fn servers() -> Vec<Server> {
    match std::env::var("CORPUS_SERVERS").as_deref() {
        Ok("none") => Vec::new(),
        Ok("serve") => vec![Server::Handfast],
        _ => vec![Server::Handfast, Server::Converted],
    }
}

fn answers(case: &Case, server: Server, backends: &Backends) -> Vec<Answer> {
    let stand = Stand::start(case, server, backends);
    case.requests.iter().map(|request| stand.ask(request)).collect()
}

/// What differs between two answers, apart from what is meant to; and what is meant to differ but does not.
fn difference(case: &Case, request: &case::Request, theirs: &Answer, ours: &Answer) -> Vec<String> {
    let mut fields: BTreeMap<String, (String, String)> = BTreeMap::new();
    fields.insert("status".into(), (theirs.status.to_string(), ours.status.to_string()));
    fields.insert("body".into(), (theirs.body.clone(), ours.body.clone()));
    for name in theirs.headers.keys().chain(ours.headers.keys()) {
        let value = |answer: &Answer| answer.headers.get(name).cloned().unwrap_or_default();
        fields.insert(name.clone(), (value(theirs), value(ours)));
    }
    let mut faults = Vec::new();
    for (field, (theirs, ours)) in &fields {
        let meant = case.differs.contains_key(field) || request.differs.contains_key(field);
        if theirs != ours && !meant {
            faults.push(format!("{field}:\n      nginx    {theirs:?}\n      handfast {ours:?}"));
        }
    }
    for field in request.differs.keys() {
        if fields.get(field).is_none_or(|(theirs, ours)| theirs == ours) {
            faults.push(format!("{field} does not differ any more; take it out of the case"));
        }
    }
    faults
}
