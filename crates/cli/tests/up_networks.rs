//! `handfast up DIR` as root: each pod in a network namespace of its own, with unchanged clients that know of no proxy, a
//! capture of the wire between the pods, and the machine's own network as it was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as expected")]

#[path = "up/place.rs"]
mod place;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::capture;
use testkit::network::Network;
use testkit::program::Program;

use place::{Place, SOON, address, has_line, is_proven, turn};

/// What a shell says on the machine itself.
fn shell(script: &str) -> String {
    let done = Command::new("sh").args(["-c", script]).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

/// The machine: a network of its own, so that nobody else's tests change it. None, having said so, without root.
struct Machine(Network);

impl Machine {
    fn start() -> Option<Self> {
        let machine = Self(Network::start()?);
        // Its own addresses change by themselves until the kernel has seen that they are nobody else's.
        let began = Instant::now();
        while machine.shell("ip -6 addr").contains("tentative") {
            assert!(began.elapsed() < SOON, "{}", machine.state());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(machine)
    }

    /// What a shell says on it.
    fn shell(&self, script: &str) -> String {
        let done = self.0.node().command("sh").args(["-c", script]).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    }

    /// All that `handfast up` could have changed of it.
    fn state(&self) -> String {
        self.shell(
            "ip link; ip -o addr; ip route show table all; ip rule; ip -6 rule; nft list ruleset; \
             sysctl -a 2>/dev/null | grep -E 'forward|rp_filter|bridge-nf'; cat /etc/hosts /etc/resolv.conf; \
             cut -d' ' -f5 /proc/self/mountinfo | grep -v /run/netns | sort; hostname",
        )
    }

    /// `handfast` on it, as root.
    fn handfast(&self, place: &Place, words: &[&str]) -> Command {
        place.command(self.0.node().command(&place.path("handfast").display().to_string()), words)
    }

    fn up(&self, place: &Place) -> Program {
        let mut up = Program::start(&mut self.handfast(place, &["up", "bank"]));
        up.wait_for("the proof", SOON, |up| up.stderr().contains("up until Ctrl-C"));
        up
    }
}

/// The processes whose folder is this one, or that are in it.
fn processes(place: &Place) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let inside = |process: &Path| {
        std::fs::read_link(process.join("cwd")).is_ok_and(|folder| folder.starts_with(place.path("")))
    };
    let command = |process: &Path| std::fs::read_to_string(process.join("cmdline")).unwrap_or_default();
    all.filter(|process| inside(process)).map(|process| command(&process).replace('\0', " ")).collect()
}

/// A command inside of a pod: where its process is.
fn inside(place: &Place, process: &str, script: &str) -> String {
    try_inside(place, process, script).unwrap_or_else(|| panic!("no {process}: {:?}", processes(place)))
}

/// The same; none where no such process is there (yet).
fn try_inside(place: &Place, process: &str, script: &str) -> Option<String> {
    let find = format!("pgrep -f '{process}'");
    let in_it = |pid: &&str| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder.starts_with(place.path("")))
    };
    let found = shell(&find);
    let pid = found.lines().find(in_it)?;
    let enter = ["--target", pid, "--net", "--mount", "--uts", "--pid", "--", "sh", "-c", script];
    let done = Command::new("nsenter").args(enter).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
    Some(format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)))
}

/// Whether curl got no answer: its connection was broken off, before or after it knew that it had one.
fn is_refused(said: &str) -> bool {
    ["curl: (7)", "curl: (56)", "curl: (52)"].iter().any(|code| said.contains(code))
        && !said.contains("balance")
}

#[test]
fn unchanged_applications_are_intercepted_and_the_machine_stays_as_it_was() {
    let _turn = turn();
    let Some(machine) = Machine::start() else { return };
    let before = machine.state();
    let place = Place::new();
    let mut up = machine.up(&place);
    let (out, table) = (up.stdout(), up.stderr());
    // The first range, 10.77.0.0/16, is one that the machine has a route to.
    assert!(table.contains("network: each pod has its own, in 10.78.0.0/16"), "{table}");
    is_proven(&out);
    let around =
        ["ok", "plain text", "-> ledger-0:8080", "refused, 1 rule of bank/ledger-callers considered"];
    assert!(has_line(&out, &around), "{out}");
    assert!(out.contains("12 ok, 0 failed"), "{out}");
    up.wait_for("the teller's answer", SOON, |up| {
        has_line(&up.stdout(), &["teller-0 |", "\"balance\": 120"])
    });
    up.wait_for("both verdicts", SOON, |up| {
        has_line(
            &up.stdout(),
            &["bank/teller -> bank/ledger:8080", "mutual TLS, allowed by policy bank/ledger-callers"],
        ) && has_line(&up.stdout(), &["bank/gossip -> bank/ledger:8080", "refused[HF8004]"])
    });
    // What the application of the refused caller sees of it.
    up.wait_for("the refusal", SOON, |up| {
        has_line(&up.stdout(), &["gossip-0 |", "Connection reset by peer"])
    });
    assert_eq!(machine.state(), before, "the machine's own network is another one now");

    // Clients that nobody told of a proxy, by every name.
    let ask =
        |who: &str, url: &str| inside(&place, &format!("bank.py {who}$"), &format!("curl -sS -m 5 {url}"));
    for name in ["ledger", "ledger.bank", "ledger.bank.svc", "ledger.bank.svc.cluster.local"] {
        let said = ask("teller", &format!("http://{name}:8080/bob"));
        assert!(said.contains("\"balance\": 80"), "{name}: {said}");
        let said = ask("gossip", &format!("http://{name}:8080/bob"));
        assert!(is_refused(&said), "{name}: {said}");
    }
    let ledger = address(&table, "bank/ledger-0");
    // Past the Service, and past the proxy: at the pod's own address and port.
    assert!(ask("teller", &format!("http://{ledger}:8080/bob")).contains("80"));
    assert!(is_refused(&ask("gossip", &format!("http://{ledger}:8080/bob"))));
    let python = "import urllib.request as r; print(r.urlopen(\"http://ledger:8080/bob\", timeout=5).read())";
    let said = inside(&place, "bank.py teller$", &format!("python3 -c '{python}'"));
    assert!(said.contains("80"), "{said}");
    // Nothing leads out, no other name is known, and the environment says where the Service really is.
    assert!(ask("teller", "http://192.0.2.1/").contains("curl: (7)"));
    assert!(ask("teller", "http://handfast.dev/").contains("curl: (6)"));
    let environment =
        inside(&place, "bank.py teller$", "tr '\\0' '\\n' < /proc/$(pgrep -f 'bank.py teller$')/environ");
    assert!(!environment.to_lowercase().contains("proxy"), "{environment}");
    assert!(has_line(&environment, &["LEDGER_SERVICE_HOST=10."]), "{environment}");
    assert!(has_line(&environment, &["LEDGER_SERVICE_PORT=8080"]), "{environment}");
    assert_eq!(inside(&place, "bank.py teller$", "hostname"), "teller-0\n");
    // An application of root's cannot take the rules away, and sees nobody but its own pod.
    let rights = "grep CapBnd /proc/$(pgrep -f 'bank.py teller$')/status";
    let rights = inside(&place, "bank.py teller$", rights);
    let rights = u64::from_str_radix(rights.split_whitespace().last().unwrap(), 16).unwrap();
    let (net_admin, net_raw, sys_admin) = (12, 13, 21);
    assert_eq!(rights & (1 << net_admin | 1 << net_raw | 1 << sys_admin), 0, "{rights:#x}");
    let others = inside(&place, "bank.py teller$", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    assert!(others.contains("teller") && !others.contains("gossip"), "{others}");
    // Shared memory is a pod's own too.
    let memory = |who: &str| {
        let process = format!("bank.py {who}$");
        inside(&place, &process, &format!("readlink /proc/$(pgrep -f '{process}')/ns/ipc; ls /dev/shm"))
    };
    inside(&place, "bank.py teller$", "touch /dev/shm/tellers");
    let (teller, gossip) = (memory("teller"), memory("gossip"));
    assert!(teller.starts_with("ipc:[") && teller.ends_with("]\ntellers\n"), "{teller}");
    assert!(gossip.starts_with("ipc:[") && gossip.ends_with("]\n"), "{gossip}");
    let machines = machine.shell("readlink /proc/self/ns/ipc");
    assert!(
        !teller.starts_with(&gossip) && machines != gossip && !teller.starts_with(&machines),
        "{machines}"
    );
    assert!(!Path::new("/dev/shm/tellers").exists());

    // From the machine itself a Service is reached as by any stranger: its policy decides.
    let from_here = |service: &str| {
        let line = table
            .lines()
            .find(|line| line.starts_with(service))
            .unwrap_or_else(|| panic!("{service}: {table}"));
        machine.shell(&format!("curl -sS -m 5 http://{}/bob", line.split_whitespace().last().unwrap()))
    };
    let said = from_here("bank/ledger:8080");
    assert!(is_refused(&said), "{said}");

    on_the_wire(&place, &up.stderr());

    // The policy is edited: who is allowed changes places, and the pods are the same ones.
    place.edit(|text| {
        text.replace(
            "principals: [cluster.local/ns/bank/sa/teller]",
            "principals: [cluster.local/ns/bank/sa/gossip]",
        )
    });
    let edited = Instant::now();
    up.wait_for("the new policy", SOON, |up| up.stderr().contains("applied what"));
    eprintln!("a changed policy was in force after {:?}", edited.elapsed());
    assert!(ask("gossip", "http://ledger:8080/bob").contains("80"));
    assert!(is_refused(&ask("teller", "http://ledger:8080/bob")));
    assert_eq!(up.stdout().matches("the ledger is open").count(), 1, "no pod is started anew for a policy");
    // A Service that is new has its name at once, in pods that run.
    place.edit(|text| {
        format!(
            "{text}---\napiVersion: v1\nkind: Service\nmetadata: {{name: books, namespace: bank}}\nspec:\n  \
             selector: {{app: ledger}}\n  ports: [{{port: 80, targetPort: 8080}}]\n"
        )
    });
    up.wait_for("the Service", SOON, |up| up.stderr().matches("applied what").count() >= 2);
    assert!(ask("gossip", "http://books/bob").contains("80"));
    // Without a policy everybody may call, from the machine too.
    place.edit(|text| text.replace("  action: ALLOW\n  rules:", "  action: ALLOW\n  rules:\n  - {}\n  #"));
    up.wait_for("the open policy", SOON, |up| up.stderr().matches("applied what").count() >= 3);
    let said = from_here("bank/ledger:8080");
    assert!(said.contains("\"balance\": 80"), "{said}");

    let log = std::fs::read_to_string(place.path(".handfast/up.log")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outbound = |source: &str, code: Option<&str>| {
        lines.iter().any(|line| {
            line["direction"] == "outbound"
                && line["source"] == format!("spiffe://cluster.local/ns/bank/sa/{source}")
                && line["code"].as_str() == code
        })
    };
    assert!(outbound("teller", None) && outbound("gossip", Some("HF8011")), "{log}");

    up.signal("TERM");
    let done = up.finish(Duration::from_secs(30));
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert_eq!(processes(&place), [""; 0]);
    assert_eq!(machine.state(), before, "something is left of it");
}

/// On every cable there is TLS to port 15008 and nothing else of TCP.
fn on_the_wire(place: &Place, said: &str) {
    let network = said.split_whitespace().find(|word| word.starts_with("--net=")).unwrap();
    let file = place.path("wire.pcap");
    let mut command = Command::new("nsenter");
    command.args([network, "tshark", "-q", "-i", "br0", "-a", "duration:7", "-c", "2000", "-w"]).arg(&file);
    let done = Program::run(&mut command, b"", SOON);
    assert_eq!(done.code, Some(0), "{}", done.all());
    let tunnel = capture::segments(&file, 15008);
    assert!(tunnel.len() > 4, "{} packets of the tunnel", tunnel.len());
    for text in ["balance", "alice", "GET ", "HTTP/", "PRI * ", "ledger", "spiffe"] {
        assert!(!capture::holds(&tunnel, text), "{text:?} is readable on the wire");
    }
    let records = capture::tls_records(&tunnel);
    assert!(records > 4 && records * 2 > tunnel.len(), "{records} of {}", tunnel.len());
    let mut rest = Command::new("tshark");
    rest.arg("-r").arg(&file).args(["-Y", "tcp.port != 15008 || udp.port == 53"]);
    let rest = Program::run(&mut rest, b"", SOON);
    assert_eq!((rest.code, rest.out().as_str()), (Some(0), ""), "all TCP goes through the tunnels");
}

#[test]
fn what_was_killed_leaves_nothing_and_others_live_on() {
    let _turn = turn();
    let Some(machine) = Machine::start() else { return };
    let before = machine.state();
    let (one, two) = (Place::new(), Place::new());
    // One that leaves its parent, its group and its session.
    one.edit(|text| {
        let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: leaves, namespace: bank}\nspec:\n  containers:\n  \
                   - {name: leaves, image: none, command: [sh, -c, 'setsid -f sleep 3179; exec sleep 3180']}\n";
        format!("{text}{pod}")
    });
    let first = machine.up(&one);
    let mut second = machine.up(&two);
    assert!(second.stdout().contains("12 ok, 0 failed"), "{}", second.stdout());
    let running = processes(&one);
    for command in ["bank.py ledger", "bank.py teller", "sleep 3179", "sleep 3180"] {
        assert!(running.iter().any(|own| own.contains(command)), "{command} of {running:?}");
    }
    first.signal("KILL");
    let died = Instant::now();
    while !processes(&one).is_empty() {
        assert!(died.elapsed() < SOON, "{:?}", processes(&one));
        std::thread::sleep(Duration::from_millis(10));
    }
    eprintln!("all processes of a killed `up` were gone after {:?}", died.elapsed());
    drop(first);
    assert!(processes(&two).iter().any(|own| own.contains("bank.py ledger")), "another one's live on");
    // The same folder again, with what the killed one left in its own.
    let mut again = machine.up(&one);
    assert!(again.stdout().contains("0 failed"), "{}", again.stdout());
    let answers = |up: &Program| up.stdout().matches("balance").count();
    for up in [&mut again, &mut second] {
        up.wait_for("the teller's answer", SOON, |up| answers(up) > 0);
        up.signal("INT");
    }
    for up in [again, second] {
        let done = up.finish(Duration::from_secs(30));
        assert_eq!(done.code, Some(0), "{}", done.all());
    }
    assert!(processes(&one).is_empty() && processes(&two).is_empty());
    assert_eq!(machine.state(), before);
}

#[test]
fn a_pod_that_changes_is_reached_again_and_one_outside_of_the_mesh_is_a_stranger() {
    let _turn = turn();
    let Some(machine) = Machine::start() else { return };
    let place = Place::new();
    place.edit(|text| {
        let outside = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: street, labels: {handfast.dev/mesh: \
                       disabled}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: passer-by, namespace: street}\nspec:\n  \
                       containers:\n  - {name: passer-by, image: none, command: [sleep, '3181']}\n";
        let shelf = text.split("---\n").find(|one| one.contains("kind: Deployment")).unwrap();
        let shelf = shelf.replace("Deployment", "StatefulSet").replace("replicas: 1", "replicas: 2\n  serviceName: shelf");
        let shelf = shelf.replace("name: ledger, namespace", "name: shelf, namespace").replace("app: ledger", "app: shelf");
        let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: shelf, namespace: bank}\nspec:\n  \
                       clusterIP: None\n  selector: {app: shelf}\n  ports: [{port: 8080}]\n";
        format!("{text}{outside}---\n{shelf}{service}")
    });
    let mut up = machine.up(&place);
    let ask = || inside(&place, "^sleep 3181$", "curl -sS -m 5 http://ledger.bank:8080/bob");
    let said = ask();
    assert!(is_refused(&said), "no identity, no entry: {said}");
    up.wait_for("its refusal", SOON, |up| {
        has_line(&up.stdout(), &["10.", "-> bank/ledger:8080", "refused[HF80"])
    });
    // Of a Service without an address of its own there are its pods, each by its own name as well.
    for name in ["shelf", "shelf-0.shelf", "shelf-1.shelf.bank.svc.cluster.local"] {
        let script = format!("curl -sS -m 5 http://{name}:8080/bob");
        let said = inside(&place, "bank.py teller$", &script);
        assert!(said.contains("80"), "{name}: {said}");
    }
    let one = address(&up.stderr(), "bank/shelf-1");
    let known = inside(&place, "bank.py teller$", "getent hosts shelf-1.shelf");
    assert!(known.starts_with(&one), "{one}: {known}");
    // Another pod at the same address: its neighbours find it at once.
    let ledger = address(&up.stderr(), "bank/ledger-0");
    place.edit(|text| {
        text.replace("command: [python3, bank.py, ledger]", "command: [python3, -u, bank.py, ledger]")
    });
    let opened = |up: &Program| up.stdout().matches(&format!("the ledger is open on {ledger}:")).count();
    up.wait_for("the new ledger", SOON, |up| opened(up) == 2);
    let teller = || {
        let asked = try_inside(&place, "bank.py teller$", "curl -sS -m 5 http://ledger:8080/bob");
        asked.unwrap_or_default()
    };
    up.wait_for("the new ledger's answer", SOON, |_| teller().contains("80"));
    // What somebody else ends as a whole is started again.
    let first = shell(&format!("pgrep -P {} -f ^handfast-pod", up.pid()));
    assert_eq!(first.lines().count(), 6, "one for each pod: {first}");
    for pid in first.lines() {
        assert_eq!(shell(&format!("kill -KILL {pid}")), "");
    }
    up.wait_for("new pods", SOON, |up| up.stderr().matches("the pod is started again").count() == 6);
    up.wait_for("another ledger", SOON, |up| opened(up) == 3);
    up.wait_for("its answer", SOON, |_| teller().contains("80"));
    up.signal("TERM");
    assert_eq!(up.finish(Duration::from_secs(30)).code, Some(0));
}

#[test]
fn an_application_of_roots_changes_nothing_of_the_kernel_and_inherits_no_right() {
    let _turn = turn();
    let Some(machine) = Machine::start() else { return };
    let place = Place::new();
    // A pod's own process, with the rights that it was given: it opens each file for writing, and writes nothing.
    let script = "id -u; for file in /proc/sys/net/ipv4/tcp_fwmark_accept /proc/sys/kernel/core_pattern \
                  /proc/sys/vm/overcommit_memory /proc/sysrq-trigger $(ls -d /proc/irq/*/smp_affinity | head -n 1) \
                  /sys/kernel/mm/transparent_hugepage/enabled /sys/class/net/lo/mtu \
                  $(find /sys/fs/cgroup -name cgroup.procs | head -n 1); do \
                  test -e $file && (: >> $file) && echo opened $file; done; \
                  umount /proc/sys; mount -o remount,bind,rw /proc/sys; umount /proc; echo over; exec sleep 3182";
    place.edit(|text| {
        let script = script.replace('$', "$$").replace('\'', "''");
        let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: writes, namespace: bank}\nspec:\n  containers:\n";
        format!("{text}{pod}  - {{name: writes, image: none, command: [sh, -c, '{script}']}}\n")
    });
    // Whoever starts it hands down the right to raw sockets, which no bounding set takes away.
    // The machine's mounts are shared, as systemd has them, and a copy: the test mounts something.
    let mut command = machine.0.node().command("unshare");
    command.args(["--mount", "--propagation", "shared", "setpriv"]);
    command.args(["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"]).arg(place.path("handfast"));
    let mut up = Program::start(&mut place.command(command, &["up", "bank"]));
    up.wait_for("the proof", SOON, |up| up.stderr().contains("up until Ctrl-C"));
    up.wait_for("the attempts", SOON, |up| has_line(&up.stdout(), &["writes |", "over"]));
    let out = up.stdout();
    let said = |parts: &[&str]| has_line(&out, &[&["writes |"], parts].concat());
    assert!(said(&["| 0"]) && !said(&["opened"]), "{out}");
    for file in ["tcp_fwmark_accept", "core_pattern", "overcommit_memory", "lo/mtu"] {
        assert!(said(&[file, "Read-only file system"]), "{file}: {out}");
    }
    assert!(
        said(&["umount: /proc/sys"]) && said(&["mount: /proc/sys"]) && said(&["umount: /proc:"]),
        "{out}"
    );
    let sets = shell(&format!("cat /proc/{}/status /proc/$(pgrep -f '^sleep 3182$')/status", up.pid()));
    let bits = |name: &str| {
        let values = sets.lines().filter_map(|line| line.strip_prefix(name));
        values.map(|bits| u64::from_str_radix(bits.trim(), 16).unwrap()).collect::<Vec<_>>()
    };
    let net_raw = 1 << 13;
    assert_eq!(bits("CapInh:"), [net_raw, 0], "of up, and of the pod");
    assert!([bits("CapEff:")[1], bits("CapPrm:")[1]].iter().all(|own| own & net_raw == 0), "{sets}");
    // What the machine mounts later is seen in the pod, but not where the kernel's files are.
    std::fs::create_dir(place.path("later")).unwrap();
    let (later, pid) = (place.path("later").display().to_string(), up.pid());
    for point in [later.as_str(), "/sys/kernel/mm"] {
        assert_eq!(shell(&format!("nsenter --target {pid} --mount mount -t tmpfs later {point}")), "");
    }
    let seen = inside(&place, "^sleep 3182$", "grep ' - tmpfs later ' /proc/self/mountinfo | cut -d' ' -f5");
    assert_eq!(seen, format!("{later}\n"));
    // The machine's own are as writable as ever.
    assert_eq!(machine.shell(": >> /proc/sys/kernel/core_pattern"), "");
    up.signal("TERM");
    assert_eq!(up.finish(Duration::from_secs(30)).code, Some(0));
}

#[test]
fn which_way_is_taken_is_said_and_may_be_chosen() {
    let _turn = turn();
    let place = Place::new();
    // Without the right to make namespaces, as an ordinary user.
    let done =
        Program::run(&mut place.handfast(&["up", "--once", "--network", "namespaces", "bank"]), b"", SOON);
    assert_eq!(done.code, Some(1), "{}", done.all());
    assert!(done.err().contains("HF8044") && done.err().contains("not permitted"), "{}", done.err());
    assert!(!done.all().contains("the ledger is open"), "{}", done.all());
    let Some(machine) = Machine::start() else { return };
    let done = Program::run(
        &mut machine.handfast(&place, &["up", "--once", "--network", "loopback", "bank"]),
        b"",
        SOON,
    );
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert!(done.err().contains("network: loopback addresses in 127."), "{}", done.err());
    assert!(done.out().contains("11 ok, 0 failed"), "{}", done.out());
    // Root, as in a container: it says aloud that nothing is intercepted, and why.
    let container = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-sys_admin,-net_admin"]).arg(place.path("handfast"));
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("NO_COLOR", "1");
        command.env("HOME", place.path("")).current_dir(place.path("")).args(words);
        Program::run(&mut command, b"", SOON)
    };
    let done = container(&["up", "--once", "bank"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert!(
        done.err().contains("warning[HF8044]") && done.err().contains("nothing is intercepted"),
        "{}",
        done.err()
    );
    let done = container(&["up", "--once", "--network", "namespaces", "bank"]);
    assert!(done.code == Some(1) && done.err().contains("error[HF8044]"), "{}", done.all());
    // A container without a command is refused as it is without root.
    place.edit(|text| text.replacen("        command: [python3, bank.py, ledger]\n", "", 1));
    let done = Program::run(&mut machine.handfast(&place, &["up", "--once", "bank"]), b"", SOON);
    assert_eq!(done.code, Some(2), "{}", done.all());
    assert!(done.err().contains("HF8040") && done.err().contains("bank.yaml"), "{}", done.err());
    assert!(!done.all().contains("the ledger is open"), "{}", done.all());
}
