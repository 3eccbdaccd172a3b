//! The Handfast that the rows are tried on: one process, a listener for each kind of policy.

use std::net::SocketAddr;
use std::time::Duration;

use testkit::echo::Echo;
use testkit::free_port;
use testkit::handfast::Handfast;
use testkit::http_upstream::HttpUpstream;
use testkit::pki::Pki;

/// A listener of [`Server`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// HTTP, a client certificate is required, its identity must be `sa/client`, revocation is decided.
    Strict,
    /// The same in front of raw TCP.
    StrictTcp,
    /// As strict, but revocation that cannot be decided lets in.
    FailOpen,
    /// No client certificates; unknown names are refused.
    Names,
    /// Two hosts: `app.test` requires a certificate, `other.test` does not ask for one.
    Hosts,
    /// Certificates are asked for at the handshake and decided by path: `/open`, `/clients`, `/others`.
    Paths,
}

const ALL: [At; 6] = [At::Strict, At::StrictTcp, At::FailOpen, At::Names, At::Hosts, At::Paths];

/// The whole fixture of one test.
pub struct Server {
    pub pki: Pki,
    pub app: HttpUpstream,
    pub echo: Echo,
    pub handfast: Handfast,
    ports: [u16; ALL.len()],
}

impl Server {
    pub fn start() -> Self {
        let (pki, app, echo) = (Pki::new(), HttpUpstream::start(), Echo::start());
        let ports = ALL.map(|_| free_port());
        let handfast = Handfast::serve(testkit::binary!(), &yaml(&pki, &app, &echo, ports));
        Self { pki, app, echo, handfast, ports }
    }

    pub fn addr(&self, at: At) -> SocketAddr {
        let index = ALL.iter().position(|one| *one == at).unwrap();
        SocketAddr::from(([127, 0, 0, 1], self.ports[index]))
    }

    /// Bytes and connections that reached either upstream.
    pub fn upstream(&self) -> (usize, usize) {
        let (app, echo) = (self.app.counters(), self.echo.counters());
        (app.bytes() + echo.bytes(), app.connections() + echo.connections())
    }

    /// How many handshakes were refused for this reason.
    pub fn failures(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        self.handfast.metric("handfast_tls_handshake_failures_total", &[&label])
    }

    /// The log's lines with this code. The access log, which repeats the code in a request's line, is apart.
    pub fn lines(&self, code: &str) -> Vec<serde_json::Value> {
        let log = self.handfast.log().into_iter();
        log.filter(|line| line["code"] == code && line.get("message").is_some()).collect()
    }

    /// The log's lines about refusals.
    pub fn refusals(&self) -> Vec<serde_json::Value> {
        self.handfast.log().into_iter().filter(|line| line["target"] == "handfast::refusal").collect()
    }

    /// Waits for more than `before` lines with this code: the log is written after the client was answered.
    pub fn new_lines(&self, code: &str, before: usize) -> Vec<serde_json::Value> {
        testkit::handfast::eventually(Duration::from_secs(3), || self.lines(code).len() > before);
        self.lines(code).split_off(before)
    }
}

/// The configuration in front of these upstreams.
pub fn yaml(pki: &Pki, app: &HttpUpstream, echo: &Echo, ports: [u16; ALL.len()]) -> String {
    let dir = pki.dir().display();
    let [strict, strict_tcp, fail_open, names, hosts, paths] = ports;
    let clients = format!(
        "mode: required, ca: [{dir}/clients.pem], crl: [{dir}/clients.crl], depth: 5, \
         allow: [{{spiffe: {{trust_domain: cluster.local, namespace: local, service_account: client}}}}]"
    );
    let certificate = format!("certificates: [{{chain: {dir}/server.crt, key: {dir}/server.key}}]");
    format!(
        "version: 1
admin: ADMIN
listeners:
- name: strict
  bind: ['127.0.0.1:{strict}']
  tls: {{{certificate}, clients: {{{clients}}}}}
  hosts: [{{names: [app.test], default: true, routes: [{{proxy: {{service: app}}}}]}}]
- name: strict-tcp
  bind: ['127.0.0.1:{strict_tcp}']
  tls: {{{certificate}, clients: {{{clients}}}}}
  tcp: {{routes: [{{service: echo}}]}}
- name: fail-open
  bind: ['127.0.0.1:{fail_open}']
  tls: {{{certificate}, clients: {{{clients}, revocation: fail-open}}}}
  hosts: [{{names: [app.test], default: true, routes: [{{proxy: {{service: app}}}}]}}]
- name: names
  bind: ['127.0.0.1:{names}']
  tls: {{{certificate}, reject_unknown_names: true}}
  hosts: [{{names: [app.test], routes: [{{proxy: {{service: app}}}}]}}]
- name: hosts
  bind: ['127.0.0.1:{hosts}']
  tls: {{{certificate}}}
  hosts:
  - names: [app.test]
    tls: {{clients: {{{clients}}}}}
    routes: [{{proxy: {{service: app}}}}]
  - names: [other.test]
    default: true
    routes: [{{proxy: {{service: app}}}}]
- name: paths
  bind: ['127.0.0.1:{paths}']
  tls: {{{certificate}, clients: {{mode: optional-no-ca}}}}
  hosts:
  - names: [app.test]
    routes:
    - {{path: /open, proxy: {{service: app}}}}
    - {{path: /clients, clients: {{{clients}}}, proxy: {{service: app}}}}
    - {{path: /others, clients: {{mode: required, ca: [{dir}/other.pem]}}, proxy: {{service: app}}}}
services:
  app: {{endpoints: [{{address: '{app}'}}]}}
  echo: {{endpoints: [{{address: '{echo}'}}]}}
",
        app = app.addr(),
        echo = echo.addr(),
    )
}

impl Server {
    /// Waits until this many reloads were applied, or panics with the log.
    pub fn wait_for_reload(&self, least: f64) {
        let applied = || self.handfast.metric("handfast_reloads_total", &["result=\"applied\""]) >= least;
        let done = testkit::handfast::eventually(Duration::from_secs(10), applied);
        assert!(done, "no reload:\n{}\n{}", self.handfast.metrics(), self.handfast.program.output());
    }
}
