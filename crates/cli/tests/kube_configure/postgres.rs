//! PostgreSQL, which does not run as root: as the user that Debian's package made.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::program::Program;
use testkit::skipped;

use crate::mount::Place;
use crate::trial::Trial;

/// A StartupMessage of protocol 3.0 for the user `app`; the answer asks for its password.
const STARTUP: &str = "\0\0\0\x1f\0\x03\0\0user\0app\0database\0app\0\0";

struct Postgres {
    programs: PathBuf,
    user: Option<(u32, u32)>,
}

impl Postgres {
    fn find() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        let programs =
            versions.map(|v| v.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max()?;
        let number = |flag: &str| -> Option<u32> {
            let done = Program::run(Command::new("id").args([flag, "postgres"]), b"", Duration::from_secs(5));
            done.out().trim().parse().ok()
        };
        let root =
            Program::run(Command::new("id").arg("-u"), b"", Duration::from_secs(5)).out().trim() == "0";
        let user = if root { Some((number("-u")?, number("-g")?)) } else { None };
        Some(Self { programs, user })
    }

    /// A program as that user, without a process in between.
    fn command(&self, program: &str) -> Command {
        let path = if program.contains('/') { program.into() } else { self.programs.join(program) };
        let Some((user, group)) = self.user else { return Command::new(path) };
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
        command.arg(path);
        command
    }

    /// A new cluster of databases in this folder, with the printed files in force.
    fn server(&self, folder: &Path) -> Command {
        if let Some((user, group)) = self.user {
            chown(folder, Some(user), Some(group)).unwrap();
        }
        let data = folder.join("data");
        let mut initdb = self.command("initdb");
        initdb.args(["--no-sync", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"]).arg(&data);
        let done = Program::run(&mut initdb, b"", Duration::from_secs(60));
        assert_eq!(done.code, Some(0), "{}", done.all());
        let append = |name: &str| {
            let printed = std::fs::read_to_string(folder.join(name)).unwrap();
            let own = std::fs::read_to_string(data.join(name)).unwrap();
            let text = if name == "pg_hba.conf" { printed } else { own + &printed };
            std::fs::write(data.join(name), text).unwrap();
        };
        append("postgresql.conf");
        append("pg_hba.conf");
        // Single-user mode makes the role before anybody can connect.
        let sql = b"CREATE ROLE app LOGIN PASSWORD 'secret'\nCREATE DATABASE app OWNER app\n";
        let mut single = self.command("postgres");
        single.arg("--single").arg("-D").arg(&data).arg("postgres");
        let done = Program::run(&mut single, sql, Duration::from_secs(30));
        assert_eq!(done.code, Some(0), "{}", done.all());
        let mut command = self.command("postgres");
        command.arg("-D").arg(&data).args(["-c", "fsync=off", "-k"]).arg(folder);
        command
    }
}

#[test]
fn postgres_asks_and_shows_certificates_and_is_reloaded_by_the_script() {
    let Some(postgres) = Postgres::find() else {
        skipped("postgresql is not installed");
        return;
    };
    Trial {
        application: "postgres",
        server: &|folder| postgres.server(folder),
        // SIGTERM would wait for every client.
        stop: "INT",
        client: &|folder, _| {
            let mut command = Command::new("psql");
            for line in std::fs::read_to_string(folder.join("client.env")).unwrap().lines() {
                if let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                    command.env(name, value);
                }
            }
            command.env("PGPASSWORD", "secret").args(["-U", "app", "app", "-Atc"]);
            command.arg(
                "SELECT 'hello, ' || ssl::text || version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            );
            Program::run(&mut command, b"", Duration::from_secs(20))
        },
        answer: "hello, trueTLSv1.3",
        starttls: Some("postgres"),
        words: (STARTUP, "SCRAM-SHA-256"),
        behind: None,
        reload: Some(&|folder, _| {
            let mut command = postgres.command("/bin/sh");
            let path = format!("{}:{}", postgres.programs.display(), std::env::var("PATH").unwrap());
            command.arg(folder.join("reload.sh")).env("PGDATA", folder.join("data")).env("PATH", path);
            command
        }),
        renews: true,
    }
    .run(&Place::with_group(postgres.user.map(|(_, group)| group)));
}
