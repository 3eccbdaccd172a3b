//! Networks that are made here, connected, and gone with whoever used them; and what processes in them see and may do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set, set_capabilities,
};

use handfast_sys::{Namespace, as_in_a_container, link, listen, mounts};

const NODE: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

/// A network with a bridge; none, after having said so, where it may not be made.
fn switch() -> Option<Namespace> {
    match Namespace::create("switch") {
        Ok(switch) => {
            let made = switch.run(|| {
                link::up("lo")?;
                link::bridge("br0")?;
                link::address("br0", NODE.into(), 16)
            });
            made.unwrap().unwrap();
            Some(switch)
        }
        Err(error) => {
            testkit::skipped(&format!("network namespaces cannot be made (root is needed): {error}"));
            None
        }
    }
}

fn connected(switch: &Namespace, pod: &Namespace, name: &'static str, address: Ipv4Addr) {
    let network = pod.run(|| File::open("/proc/thread-self/ns/net")).unwrap().unwrap();
    let made = switch.run(move || {
        let hardware = [2, 0, 10, 78, 0, address.octets()[3]];
        link::veth(name, "br0", &link::Peer { name: "eth0", hardware, network: network.as_fd() })
    });
    made.unwrap().unwrap();
    let made = pod.run(move || {
        link::up("lo")?;
        link::address("eth0", address.into(), 16)?;
        link::up("eth0")
    });
    made.unwrap().unwrap();
}

fn call(from: &Namespace, to: SocketAddr) -> std::io::Result<String> {
    from.run(move || {
        let mut socket = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        Ok(text)
    })
    .unwrap()
}

/// What a shell says inside.
fn shell(pod: &Namespace, script: &'static str) -> String {
    let done = pod.run(move || Command::new("sh").args(["-c", script]).output()).unwrap().unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

fn host() -> String {
    shell_here(
        "ip -o link; ip route show table all; nft list ruleset; cat /etc/hosts; hostname; wc -l /proc/mounts",
    )
}

#[test]
fn networks_are_connected_by_a_bridge_and_the_machines_own_stays_as_it_was() {
    let before = host();
    let Some(switch) = switch() else { return };
    let pods = [1, 2].map(|_| Namespace::create("pod").unwrap());
    let addresses = [2, 3].map(|last| Ipv4Addr::new(10, 78, 0, last));
    connected(&switch, &pods[0], "one", addresses[0]);
    connected(&switch, &pods[1], "two", addresses[1]);
    let listener = pods[1].run(|| listen(8080)).unwrap().unwrap();
    let answering = std::thread::spawn(move || {
        for _ in 0..2 {
            listener.accept().unwrap().0.write_all(b"there").unwrap();
        }
    });
    let server = SocketAddr::new(IpAddr::V4(addresses[1]), 8080);
    assert_eq!(call(&pods[0], server).unwrap(), "there");
    assert_eq!(call(&switch, server).unwrap(), "there");
    answering.join().unwrap();
    // Another one with the same address is reached at once.
    switch.run(|| link::remove("two")).unwrap().unwrap();
    let again = Namespace::create("pod").unwrap();
    connected(&switch, &again, "three", addresses[1]);
    let listener = again.run(|| listen(8080)).unwrap().unwrap();
    let answering = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"again").unwrap());
    assert_eq!(call(&pods[0], server).unwrap(), "again");
    answering.join().unwrap();
    let twice = switch.run(|| link::bridge("br0")).unwrap().unwrap_err();
    assert_eq!(twice.raw_os_error(), Some(17), "{twice}");
    assert_eq!(switch.run(|| link::up("nothing")).unwrap().unwrap_err().raw_os_error(), Some(19));
    assert_eq!(host(), before);
}

#[test]
fn processes_see_their_own_files_names_and_numbers_and_end_with_the_first_of_them() {
    let before = host();
    if switch().is_none() {
        return;
    }
    let pod = Namespace::create_for_processes("pod").unwrap();
    let files = pod.run(|| {
        mounts::host_name("ledger-0")?;
        mounts::replace(&[
            (Path::new("/etc/hosts"), b"10.78.128.2 ledger\n"),
            (Path::new("/etc/passwd"), b""),
        ])
    });
    let mut files = files.unwrap().unwrap();
    let missing = pod.run(|| mounts::replace(&[(Path::new("/etc/not-there"), b"")])).unwrap().unwrap_err();
    assert!(missing.to_string().contains("/etc/not-there"), "{missing}");
    let mut first = First(pod.run(|| Command::new("sleep").arg("3000").spawn()).unwrap().unwrap());
    assert_eq!(shell(&pod, "cat /etc/hosts /etc/passwd; hostname"), "10.78.128.2 ledger\nledger-0\n");
    files[0].write_all_at(b"10.78.128.3 ledger\n", 0).unwrap();
    assert_eq!(shell(&pod, "getent hosts ledger | cut -d' ' -f1"), "10.78.128.3\n");
    assert_eq!(host(), before, "nobody else sees any of it");
    // No folder of the machine is hidden by how the files were made.
    assert_eq!(shell(&pod, "stat -c '%d %i' /tmp"), shell_here("stat -c '%d %i' /tmp"));
    // One that leaves its parent, group and session.
    let escaped = pod.run(|| {
        let mut command = Command::new("setsid");
        command.args(["-f", "sleep", "3001"]).stdin(Stdio::null()).spawn().and_then(|mut child| child.wait())
    });
    assert!(escaped.unwrap().unwrap().success());
    let runs = || shell_here("pgrep -f '^sleep 3001' | wc -l") == "1\n";
    assert!(runs());
    first.end();
    assert!(!runs(), "the kernel has ended it");
    files.clear();
}

/// The first process of a pod; with it all others end.
struct First(Child);

impl First {
    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for First {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn shell_here(script: &str) -> String {
    String::from_utf8(Command::new("sh").args(["-c", script]).output().unwrap().stdout).unwrap()
}

#[test]
fn what_is_started_has_the_rights_of_a_container_and_the_thread_keeps_its_own() {
    if switch().is_none() {
        return;
    }
    let pod = Namespace::create("pod").unwrap();
    // As whoever started this one may have had it.
    let inherited = pod.run(|| {
        let own = capabilities(None)?;
        let inheritable = own.inheritable | CapabilitySet::NET_RAW;
        set_capabilities(None, CapabilitySets { inheritable, ..own })?;
        configure_capability_in_ambient_set(CapabilitySet::NET_RAW, true)
    });
    inherited.unwrap().unwrap();
    let sets = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status";
    let before = shell(&pod, sets);
    assert!(before.contains("CapInh:\t0000000000002000"), "{before}");
    assert_eq!(shell(&pod, "ip link set lo up && echo done"), "done\n");
    pod.run(as_in_a_container).unwrap().unwrap();
    // capabilities(7): what programs of user 0 have is inherited or within bounds.
    let after = shell(&pod, sets);
    for none in ["CapInh", "CapAmb"] {
        assert!(after.contains(&format!("{none}:\t0000000000000000")), "{after}");
    }
    for some in ["CapPrm", "CapEff", "CapBnd"] {
        let value = after.lines().find_map(|line| line.strip_prefix(some)).unwrap();
        let value = u64::from_str_radix(value.trim_start_matches(':').trim(), 16).unwrap();
        assert_eq!(value & 1 << 13, 0, "CAP_NET_RAW: {after}");
        assert_ne!(value & 1 << 10, 0, "CAP_NET_BIND_SERVICE: {after}");
    }
    assert!(shell(&pod, "ip link set lo down").contains("not permitted"));
    assert!(shell(&pod, "nft add table inet mine").contains("not permitted"));
    assert_eq!(shell(&pod, "nsenter --net=/proc/1/ns/net true 2>&1 || echo no").lines().last(), Some("no"));
    // Root is root still for files and ports.
    let script = "python3 -c 'import socket; socket.create_server((\"127.0.0.1\", 80))' && echo bound";
    assert_eq!(shell(&pod, script), "bound\n");
    pod.run(|| handfast_sys::Redirection::default().apply()).unwrap().unwrap();
}

#[test]
fn the_kernel_is_read_and_not_written_by_what_is_started() {
    if switch().is_none() {
        return;
    }
    let pod = Namespace::create_for_processes("pod").unwrap();
    pod.run(mounts::processes).unwrap().unwrap();
    let mut first = First(pod.run(|| Command::new("sleep").arg("3002").spawn()).unwrap().unwrap());
    let open = |path: &Path| std::fs::OpenOptions::new().write(true).open(path);
    let mark = "/proc/sys/net/ipv4/tcp_fwmark_accept";
    open(Path::new(mark)).unwrap();
    // All that user 0 may open for writing on the machine.
    let script =
        "find /proc/sys /proc/bus /proc/fs /proc/irq /proc/sysrq-trigger /sys -type f -perm -u+w 2>/dev/null";
    let files = shell_here(script);
    assert!(files.lines().count() > 100 && files.lines().any(|file| file == mark), "{files}");
    let opened = pod.run(move || {
        let opened = files.lines().filter(|file| open(Path::new(file)).is_ok());
        opened.map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(opened.unwrap(), [""; 0]);
    assert_eq!(shell(&pod, "cat /proc/sys/net/ipv4/tcp_fwmark_accept"), "0\n");
    assert_eq!(
        shell(&pod, "cat /proc/keys /proc/timer_list 2>/dev/null; ls -A /sys/firmware 2>/dev/null"),
        ""
    );
    let wrote = shell(&pod, "echo 1 > /proc/sys/net/ipv4/tcp_fwmark_accept");
    assert!(wrote.contains("Read-only file system"), "{wrote}");
    first.end();
}

#[test]
fn shared_memory_and_queues_are_a_pods_own() {
    if switch().is_none() {
        return;
    }
    let pods = [1, 2].map(|_| {
        let pod = Namespace::create_for_processes("pod").unwrap();
        let first = pod.run(|| Command::new("sleep").arg("3003").spawn()).unwrap().unwrap();
        // A machine with both of them.
        let dev = "mount -t tmpfs dev /dev && mkdir /dev/shm /dev/mqueue && mknod -m 666 /dev/null c 1 3";
        assert_eq!(shell(&pod, dev), "");
        pod.run(mounts::shared_memory).unwrap().unwrap();
        (First(first), pod)
    });
    let [(_, one), (_, two)] = &pods;
    // By a number (System V), and by a name (POSIX).
    let made = shell(one, "ipcmk -M 4096 > /dev/null && echo mine > /dev/shm/one && cat /dev/shm/one");
    assert_eq!(made, "mine\n");
    assert_eq!(shell(one, "stat -f -c %T /dev/mqueue; touch /dev/mqueue/queue"), "mqueue\n");
    let all = "ipcs -m | grep -c 0x; ls -A /dev/shm; ls /dev/mqueue";
    assert_eq!(shell(one, all), "1\none\nqueue\n");
    assert_eq!(shell(two, all), "0\n");
    assert!(!Path::new("/dev/shm/one").exists());
}
