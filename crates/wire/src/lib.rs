//! What processes say to each other: the messages of the mesh's control plane, as Istio's ambient mesh numbers them.

pub mod proto;
