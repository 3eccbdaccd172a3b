//! Who is let in, and who gets a certificate: the words of the wire, and what the controller decides.

use std::sync::Arc;

use controller::mesh::control::{Issuing, Refused};
use controller::mesh::issue::Asked;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::codes::{Code, mesh as codes};
use tonic::Status;
use wire::server::{Authenticator, Authority, Caller, CertificateRequest};

/// Asks the controller.
pub struct Gate(pub Arc<Issuing>);

impl Authenticator for Gate {
    fn authenticate<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<String, Status>> {
        async {
            let token = token(caller)?;
            let who = self.0.proxy(token).await.map(|identity| identity.to_string());
            who.map_err(|refused| status(caller, refused, deny))
        }
        .boxed()
    }
}

impl Authority for Gate {
    fn sign(&self, request: CertificateRequest) -> BoxFuture<'_, Result<Vec<String>, Status>> {
        async move {
            let seconds =
                request.validity.map_or(0, |span| i64::try_from(span.as_secs()).unwrap_or(i64::MAX));
            let asked = Asked { csr: &request.csr, seconds, impersonated: request.impersonated.as_deref() };
            let issued = self.0.issue(token(&request.caller)?, &asked).await;
            issued.map_err(|refused| {
                status(&request.caller, refused, |_, message| Status::permission_denied(message))
            })
        }
        .boxed()
    }
}

fn token(caller: &Caller) -> Result<&str, Status> {
    caller.token.as_deref().ok_or_else(|| Status::unauthenticated("there is no token in the request"))
}

/// One who proved who he is, and may not be told, need not prove it anew.
fn deny(code: &'static Code, message: String) -> Status {
    match code == &codes::NOT_A_PROXY {
        true => Status::permission_denied(message),
        false => Status::unauthenticated(message),
    }
}

fn status(caller: &Caller, refused: Refused, deny: fn(&'static Code, String) -> Status) -> Status {
    match refused {
        Refused::Denied { code, message } => {
            tracing::warn!(code = code.id, address = %caller.address, "a proxy is refused: {message}");
            deny(code, format!("{}: {message}", code.id))
        }
        Refused::Unavailable(why) => {
            tracing::warn!(address = %caller.address, "a proxy has to try again: {why}");
            Status::unavailable(why)
        }
    }
}
