//! Every application of `handfast kube configure`, really started with exactly what is printed, for certificates
//! mounted as kubelet mounts them: who is let in, who is refused, and when a renewed pair is served.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "kube_configure/mount.rs"]
mod mount;
#[path = "kube_configure/postgres.rs"]
mod postgres;
#[path = "kube_configure/programs.rs"]
mod programs;
#[path = "kube_configure/sidecar.rs"]
mod sidecar;
#[path = "kube_configure/texts.rs"]
mod texts;
#[path = "kube_configure/trial.rs"]
mod trial;
