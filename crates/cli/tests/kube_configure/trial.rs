//! The same trial for every application: a good client, none, one of another authority; a server of another
//! authority; a renewed pair.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::handfast::eventually;
use testkit::program::{Finished, Program};

use crate::mount::{Peek, Place, peek};

/// The printed reload.sh for a server of this folder and process.
pub type Reload<'a> = &'a dyn Fn(&Path, u32) -> Command;

/// How one application is started and asked.
pub struct Trial<'a> {
    pub application: &'a str,
    /// Starts the server of the printed folder.
    pub server: &'a dyn Fn(&Path) -> Command,
    /// The signal that ends the server in good order.
    pub stop: &'static str,
    /// Runs the client of the printed folder, made for this port to listen on, once.
    pub client: &'a dyn Fn(&Path, u16) -> Finished,
    /// What the client shows when it got its answer.
    pub answer: &'a str,
    pub starttls: Option<&'a str>,
    /// What an outsider says, and the answer that shows that it was let in.
    pub words: (&'a str, &'a str),
    /// What the server behind a proxy talks to.
    pub behind: Option<&'a str>,
    /// Runs the printed reload.sh; `None` where the application watches.
    pub reload: Option<Reload<'a>>,
    /// Whether a renewed pair is tried.
    pub renews: bool,
}

pub const GET: (&str, &str) = ("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", " 200 OK");

impl Trial<'_> {
    /// All of it.
    pub fn run(&self, place: &Place) {
        let (port, name) = (testkit::free_port(), self.application);
        let behind = self.behind.unwrap_or("127.0.0.1:9");
        let folder = place.print(name, "server", "client", port, behind);
        let mut server = Running::start(&mut (self.server)(&folder), self.stop);
        server.wait(port);
        let look = |client: Option<&str>| peek(place, port, client, self.starttls, self.words);

        let seen = look(Some("client"));
        assert!(
            seen.accepted,
            "{name}: the good client is refused: {}\n{}",
            seen.text,
            server.program.output()
        );
        let seen = look(None);
        assert!(refused(&seen), "{name} lets in a client without a certificate: {}", seen.text);
        let seen = look(Some("other-client"));
        assert!(refused(&seen), "{name} lets in a client of another authority: {}", seen.text);

        // The printed client, at the printed server of ours and of somebody else.
        let local = testkit::free_port();
        let calling = place.print(name, "server", "client", local, &format!("localhost:{port}"));
        let done = (self.client)(&calling, local);
        assert!(done.all().contains(self.answer), "{name}: the client got no answer: {}", done.all());
        let foreign_port = testkit::free_port();
        let foreign = place.print(name, "other-server", "client", foreign_port, behind);
        let mut other = Running::start(&mut (self.server)(&foreign), self.stop);
        other.wait(foreign_port);
        let local = testkit::free_port();
        let calling = place.print(name, "server", "client", local, &format!("localhost:{foreign_port}"));
        let done = (self.client)(&calling, local);
        assert!(
            !done.all().contains(self.answer),
            "{name}: the client talks to a server of another authority: {}",
            done.all()
        );
        drop(other);

        if !self.renews {
            return;
        }
        let reloader = self.reload.map(|reload| {
            let mut command = reload(&folder, server.program.pid());
            Running::start(command.env("HANDFAST_RELOAD_SECONDS", "0.3"), "TERM")
        });
        // The script has to have seen the old link.
        std::thread::sleep(Duration::from_millis(if reloader.is_some() { 500 } else { 0 }));
        let serial = place.renew_server();
        let mut last = String::new();
        let renewed = eventually(Duration::from_secs(60), || {
            let seen = look(Some("client"));
            last = seen.text;
            seen.serial == serial && seen.accepted
        });
        assert!(
            renewed,
            "{name} does not serve the renewed certificate {serial}: {last}\n{}\n{}",
            server.program.output(),
            reloader.as_ref().map(|script| script.program.output()).unwrap_or_default()
        );
        assert!(server.program.ended().is_none(), "{name} has ended");
        let seen = look(None);
        assert!(refused(&seen), "{name} lets in anybody after the renewal: {}", seen.text);
    }
}

/// Turned away, and not because nothing was there.
fn refused(seen: &Peek) -> bool {
    !seen.accepted && !seen.serial.is_empty()
}

/// A program that is ended in good order, so that none of its own children stay behind.
pub struct Running {
    pub program: Program,
    stop: &'static str,
}

impl Running {
    pub fn start(command: &mut Command, stop: &'static str) -> Self {
        Self { program: Program::start(command), stop }
    }

    /// Waits until the port answers.
    pub fn wait(&mut self, port: u16) {
        let open = |_: &Program| TcpStream::connect(("127.0.0.1", port)).is_ok();
        self.program.wait_for("the port", Duration::from_secs(40), open);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.program.ended().is_none() {
            self.program.signal(self.stop);
            eventually(Duration::from_secs(5), || self.program.ended().is_some());
        }
    }
}
