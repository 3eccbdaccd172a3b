//! All of it together: manifests and options in, edited manifests, added objects and findings out.

use config::Finding;
use model::codes::{kube, manifests as codes};

use crate::error::Error;
use crate::object::{Manifest, Object, Position, objects};
use crate::plan::{Input, Options};
use crate::reload::Reload;
use crate::yaml::Value;
use crate::{added, lint, patch, sidecar};

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
    let sidecars: Vec<_> =
        plan.iter().filter_map(|wiring| Some((&wiring.workload, wiring.sidecar.as_ref()?))).collect();
    for moved in sidecar::moved(&input, &sidecars)? {
        let position = &moved.service.position;
        let mut change = patch::target(&moved);
        change.path.splice(0..0, position.path.iter().cloned());
        if let Some(all) = changes.get_mut(position.manifest) {
            all.push((position.document, change));
        }
    }
    let mut texts = Vec::new();
    for (manifest, changes) in manifests.iter().zip(&changes) {
        texts.push(manifest.edit(changes)?);
    }
    let added = missing(manifests, added::objects(&plan))?;
    let mut findings = lint::lint(&input, options);
    for (workload, sidecar) in &sidecars {
        // A manifest does not say where an application listens, so this is told each time.
        for inbound in sidecar.inbound.iter().filter(|inbound| inbound.kind != "tcp") {
            let object = workload.object;
            let message = format!(
                "{} {}: whoever reaches port {} of its pods passes the sidecar by, and may say in \
                 x-forwarded-client-cert that he is anybody",
                object.kind, object.name, inbound.port
            );
            findings.push(Finding::new(&codes::LINT_SIDECAR_PLAIN, message).at(object.place(workload.pod)));
        }
    }
    for wiring in plan.iter().filter(|w| w.reload == Some(Reload::Restart) && w.restarted().is_none()) {
        let object = wiring.workload.object;
        let message =
            format!("{} {} has no rollouts, and is not restarted for a renewal", object.kind, object.name);
        findings.push(Finding::new(&kube::RESTART_IMPOSSIBLE, message).at(object.place(object.node)));
    }
    Ok(Wired { texts, added, findings })
}

/// Without what the manifests hold already, from an earlier run.
fn missing(manifests: &[Manifest], added: Vec<Value>) -> Result<Vec<Value>, Error> {
    let present = objects(manifests)?;
    let mut missing = Vec::new();
    for object in added {
        let text =
            |keys: &[&str]| keys.iter().try_fold(&object, |value, key| value.get(key)).and_then(Value::text);
        let (kind, name) = (text(&["kind"]), text(&["metadata", "name"]));
        let namespace = text(&["metadata", "namespace"]);
        let same = |(_, own): &&(Position, Object<'_>)| {
            Some(own.kind) == kind && Some(own.name) == name && own.namespace == namespace
        };
        match present.iter().find(same) {
            None => missing.push(object),
            Some((_, own)) if Value::of(own.node) == object => {}
            Some((_, own)) => {
                let message = format!("this {} {} is not the one that would be added", own.kind, own.name);
                return Err(Finding::new(&codes::MANIFEST_TAKEN, message).at(own.place(own.node)).into());
            }
        }
    }
    Ok(missing)
}
