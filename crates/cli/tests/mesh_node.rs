//! The mesh in node mode on a real Kubernetes: pods that ran before anybody spoke of a mesh, what is on the wire between
//! them, who is refused, and what happens while the node's proxy is away.

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

#[path = "mesh/node.rs"]
mod node;
#[path = "mesh/node_faults.rs"]
mod node_faults;
#[path = "mesh/node_seen.rs"]
mod node_seen;
