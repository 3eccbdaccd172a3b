use super::*;

#[test]
fn the_pod_of_a_process_is_found_however_kubelet_names_its_group() {
    let uid = "0f7e6d5c-1234-4abc-9def-0123456789ab";
    let under = uid.replace('-', "_");
    for line in [
        format!("4:memory:/kubepods/besteffort/pod{uid}/0123abcd"),
        format!("4:memory:/cluster/kubepods/pod{uid}/0123abcd"),
        format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-12.scope"
        ),
        format!("0::/kubepods.slice/kubepods-pod{under}.slice/crio-12.scope"),
        format!("0::/../../pod{uid}/0123abcd"),
        // A group that the pod made below its own.
        format!("0::/kubepods/pod{uid}/0123/podffffffff-1234-4abc-9def-0123456789ab"),
    ] {
        assert_eq!(pod_of(&line).as_deref(), Some(uid), "{line}");
    }
    for line in ["0::/system.slice/podman.service", "0::/", "", "1:cpu:/kubepods/podx/y"] {
        assert_eq!(pod_of(line), None, "{line}");
    }
}

#[test]
fn this_process_has_a_start() {
    assert!(started(Path::new("/proc/self")).is_some());
}
