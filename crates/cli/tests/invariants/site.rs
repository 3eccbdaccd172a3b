//! One site: a mutual TLS listener in front of an application, with what a test adds to its configuration.

use std::net::SocketAddr;

use testkit::clients::{Attempt, Client, Seen, Version};
use testkit::free_port;
use testkit::handfast::Handfast;
use testkit::http_upstream::HttpUpstream;
use testkit::pki::{Credential, Pki};

/// What is different from a plain mutual TLS site; each is a piece of YAML in flow style, in which `DIR/` stands
/// for the folder of the certificates.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// More of the client policy, as in `deny: [{dns: x}]`; begins with a comma.
    pub clients: &'a str,
    /// More of the first route, begins with a comma.
    pub proxy: &'a str,
    /// Routes before the first, each begins with `- `.
    pub routes: &'a str,
    /// More of the service, begins with a comma.
    pub service: &'a str,
    /// More of the listener, each line indented by two.
    pub listener: &'a str,
}

pub const PLAIN: Plan<'static> = Plan { clients: "", proxy: "", routes: "", service: "", listener: "" };

pub struct Site {
    pub pki: Pki,
    pub app: HttpUpstream,
    pub handfast: Handfast,
    pub port: u16,
}

impl Site {
    pub fn start(plan: Plan<'_>) -> Self {
        let (pki, app, port) = (Pki::new(), HttpUpstream::start(), free_port());
        let handfast = Handfast::serve(testkit::binary!(), &yaml(&pki, app.addr(), port, plan));
        Self { pki, app, handfast, port }
    }

    pub fn yaml(&self, plan: Plan<'_>) -> String {
        yaml(&self.pki, self.app.addr(), self.port, plan)
    }

    /// One request over TLS 1.3.
    pub fn request(&self, credential: Option<&Credential>, head: &str) -> Seen {
        let addr = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut attempt = Attempt::new(addr, Version::Tls13).credential(credential);
        let text = format!("{head}\r\nHost: app.test\r\nConnection: close\r\n\r\n");
        attempt.send = &text;
        Client::OpenSsl.connect(&attempt).expect("openssl is needed by every test here")
    }

    pub fn status(&self, credential: Option<&Credential>) -> Option<u16> {
        self.request(credential, "GET / HTTP/1.1").status()
    }

    pub fn log(&self) -> String {
        self.handfast.program.output()
    }
}

pub fn yaml(pki: &Pki, app: SocketAddr, port: u16, plan: Plan<'_>) -> String {
    let dir = pki.dir().display();
    let Plan { clients, proxy, routes, service, listener } = plan;
    format!(
        "version: 1
admin: ADMIN
listeners:
- name: site
  bind: ['127.0.0.1:{port}']
  tls:
    certificates: [{{chain: {dir}/server.crt, key: {dir}/server.key}}]
    clients: {{mode: required, ca: [{dir}/clients.pem], crl: [{dir}/clients.crl], depth: 5{clients}}}
  hosts:
  - names: [app.test]
    routes:
    {routes}
    - {{proxy: {{service: app{proxy}}}}}
{listener}
services:
  app: {{endpoints: [{{address: '{app}'}}]{service}}}
"
    )
    .replace("DIR/", &format!("{dir}/"))
}
