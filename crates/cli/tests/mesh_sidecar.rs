//! The mesh in sidecar mode on a real Kubernetes: unchanged pods of a labelled namespace, what is on the wire between
//! them, who is refused, and what happens when parts of it are killed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test stops where something is not as expected"
)]

#[path = "kube/scene.rs"]
mod scene;
#[path = "mesh/stage.rs"]
mod stage;

#[path = "mesh/admission.rs"]
mod admission;
#[path = "mesh/faults.rs"]
mod faults;
#[path = "mesh/wire.rs"]
mod on_the_wire;
#[path = "mesh/policies.rs"]
mod policies;
#[path = "mesh/tokens.rs"]
mod tokens;
