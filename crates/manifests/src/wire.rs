//! All of it together: manifests and options in, edited manifests, added objects and findings out.

use config::Finding;

use crate::error::Error;
use crate::object::Manifest;
use crate::plan::{Input, Options};
use crate::yaml::Value;
use crate::{added, lint, patch};

/// What wiring came to.
#[derive(Debug)]
pub struct Wired {
    /// The text of each manifest, in the order in which they were given.
    pub texts: Vec<String>,
    /// Rights and Certificates.
    pub added: Vec<Value>,
    /// What a person should know.
    pub findings: Vec<Finding>,
}

/// Wires manifests.
///
/// # Errors
///
/// All that is wrong with the manifests, and what cannot be edited safely. Nothing is returned half done.
pub fn wire(manifests: &[Manifest], options: &Options) -> Result<Wired, Error> {
    let input = Input::of(manifests)?;
    let plan = input.plan(options)?;
    let mut changes: Vec<Vec<_>> = manifests.iter().map(|_| Vec::new()).collect();
    let mut wrong = Vec::new();
    for wiring in &plan {
        match (patch::changes(wiring, options), changes.get_mut(wiring.workload.position.manifest)) {
            (Ok(new), Some(all)) => all.extend(new),
            (Ok(_), None) => {}
            (Err(error), _) => wrong.extend(error.0),
        }
    }
    if !wrong.is_empty() {
        return Err(Error(wrong));
    }
    let mut texts = Vec::new();
    for (manifest, changes) in manifests.iter().zip(&changes) {
        texts.push(manifest.edit(changes)?);
    }
    Ok(Wired { texts, added: added::objects(&plan), findings: lint::lint(&input, options) })
}
