use std::path::Path;

use model::codes::Coded;
use model::snapshot::Snapshot;

use super::*;

mod audit;
mod parsing;
mod translation;

/// The snapshot of a server block's content.
fn server(content: &str) -> Snapshot {
    accept(&format!("server {{ {content} }}")).0
}

fn accept(text: &str) -> (Snapshot, Vec<String>) {
    match parse(text) {
        Ok((snapshot, notes)) => (snapshot, notes.iter().map(ToString::to_string).collect()),
        Err(error) => panic!("{}", error.drawn(false).unwrap_or_default()),
    }
}

/// What is refused, as code and text with the place.
fn refuse(text: &str) -> Vec<(&'static str, String)> {
    match parse(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.findings().iter().map(|finding| (finding.code.id, finding.to_string())).collect(),
    }
}

/// Every configuration of the corpus is accepted, and what `config convert` prints reads back as the same snapshot.
#[test]
fn the_corpus_is_accepted_and_converts_without_loss() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/nginx-corpus");
    let mut count = 0;
    for folder in std::fs::read_dir(corpus).unwrap() {
        let folder = folder.unwrap().path();
        let copy = tempfile::tempdir().unwrap();
        fill(&folder, copy.path());
        let loaded = crate::load_with(&copy.path().join("nginx.conf"), false);
        let loaded = loaded.unwrap_or_else(|error| panic!("{}", error.drawn(false).unwrap_or_default()));
        let text = crate::yaml::write(&loaded.snapshot).unwrap();
        let mut again = crate::yaml::parse(&text).unwrap_or_else(|error| {
            panic!("{}:\n{}", folder.display(), error.drawn(false).unwrap_or_default())
        });
        again.base.clone_from(&loaded.snapshot.base);
        assert!(again == loaded.snapshot, "{}:\n{again:#?}\n{:#?}", folder.display(), loaded.snapshot);
        count += 1;
    }
    assert!(count >= 30, "{count}");
}

/// Copies the configurations of a folder with numbers in place of the placeholders.
fn fill(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            fill(&path, &target);
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("conf" | "types")) {
            let mut text = std::fs::read_to_string(&path).unwrap();
            let mut port = 18080;
            while let (Some(start), Some(end)) = (text.find("{{"), text.find("}}")) {
                let name = text[start..end + 2].to_owned();
                text = text.replace(&name, &port.to_string());
                port += 1;
            }
            std::fs::write(target, text).unwrap();
        }
    }
}
