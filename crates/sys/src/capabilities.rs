//! The rights of what is started in a pod (capabilities(7)).

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// What a container has by default, without raw sockets and devices: with the right to raw sockets an application could
/// mark its own for the proxy's, and go round it.
const CONTAINER: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// What the calling thread starts from now on has no more rights than in a container, as root too: it changes no packet
/// rules, enters no other network, marks no socket. The thread itself keeps its own. There is no way back.
///
/// # Errors
///
/// Without `CAP_SETPCAP`.
pub fn as_in_a_container() -> io::Result<()> {
    for right in CapabilitySet::all().difference(CONTAINER).iter() {
        match remove_capability_from_bounding_set(right) {
            // One that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => {}
            done => done?,
        }
    }
    // The bounding set does not bind what is inherited: a program of user 0 has all of both.
    clear_ambient_capability_set()?;
    set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..capabilities(None)? })?;
    Ok(())
}
