//! The policies as a manifest: stable from run to run, with the reason for each above it.

use std::fmt::Write as _;

use controller::netpol::Policy;
use model::codes::usage::INTERNAL;
use serde_json::json;

use crate::failure::Failure;

/// YAML with comments, in the order in which `kubectl apply -f` takes it.
pub(super) fn yaml(policies: &[Policy]) -> Result<String, Failure> {
    let mut text = String::from("# Written by `handfast kube netpol`. Edges change there, not here.\n");
    for policy in policies {
        text.push_str("---\n");
        for (position, line) in policy.comment.iter().enumerate() {
            let _ = writeln!(text, "#{}{line}", if position == 0 { " " } else { "   " });
        }
        text.push_str(&body(&policy.policy)?);
    }
    Ok(text)
}

/// A `List` that kubectl applies.
pub(super) fn json(policies: &[Policy]) -> Result<String, Failure> {
    let items: Vec<_> = policies.iter().map(|policy| &policy.policy).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    serde_json::to_string_pretty(&list)
        .map(|text| text + "\n")
        .map_err(|error| Failure::new(&INTERNAL, error))
}

/// One object as YAML, without what the API server adds.
pub(super) fn body(object: &impl serde::Serialize) -> Result<String, Failure> {
    let internal = |error: String| Failure::new(&INTERNAL, format!("an object cannot be written: {error}"));
    let mut value = serde_json::to_value(object).map_err(|error| internal(error.to_string()))?;
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for key in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"]
        {
            metadata.remove(key);
        }
    }
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    serde_saphyr::to_string(&value).map_err(|error| internal(error.to_string()))
}
