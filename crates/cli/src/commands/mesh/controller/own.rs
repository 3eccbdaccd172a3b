//! The control plane's own certificate, as TLS settings: made anew at half of its life, and when the authority became
//! another one.

use std::sync::Arc;
use std::time::Duration;

use controller::authority::State;
use controller::clock::Clock;
use controller::mesh::control::own;
use model::codes::Coded as _;
use rustls::ServerConfig;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::commands::mesh::tls;

/// After it could not be made.
const AGAIN: Duration = Duration::from_secs(2);
/// A clock that is set is noticed after so long.
const LOOK: Duration = Duration::from_secs(60);

/// The settings of both servers.
#[derive(Clone, Debug)]
pub struct Settings {
    control: Arc<ServerConfig>,
    webhook: Arc<ServerConfig>,
}

/// The settings, once there are some.
pub type Receiver = watch::Receiver<Option<Settings>>;

/// Keeps them, for as long as the future is run.
pub fn keep(
    mut authority: watch::Receiver<Option<Arc<State>>>,
    cluster_domain: String,
    names: Vec<String>,
    clock: Clock,
) -> (Receiver, impl Future<Output = ()> + Send) {
    let (sender, receiver) = watch::channel(None);
    let keep = async move {
        let mut made_by = String::new();
        let (mut made_at, mut renew_at) = (OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH);
        loop {
            let state = authority.borrow_and_update().clone();
            let now = OffsetDateTime::now_utc();
            let issuer = state.as_ref().and_then(|state| Some(state.active().ok()?.0.certificate.to_pem()));
            let mut wait = LOOK;
            if let (Some(state), Some(issuer)) = (state, issuer)
                && (now >= renew_at || now < made_at || issuer != made_by)
            {
                // By a clock that is wrong it would be good for nobody, or only later.
                let checked = clock.check().map_err(|error| format!("{}: {error}", error.code().id));
                match checked.and_then(|()| settings(&state, &cluster_domain, &names, now)) {
                    Ok((settings, until)) => {
                        sender.send_replace(Some(settings));
                        (made_by, made_at, renew_at) = (issuer, now, until);
                        tracing::info!("made the control plane's own certificate");
                    }
                    Err(why) => {
                        tracing::error!("the control plane has no new certificate: {why}");
                        wait = AGAIN;
                    }
                }
            }
            let _ = tokio::time::timeout(wait, authority.changed()).await;
        }
    };
    (receiver, keep)
}

fn settings(
    state: &State,
    cluster_domain: &str,
    names: &[String],
    now: OffsetDateTime,
) -> Result<(Settings, OffsetDateTime), String> {
    let own =
        own(state, cluster_domain, names, now).map_err(|error| format!("{}: {error}", error.code().id))?;
    let settings = Settings { control: tls::server(&own, b"h2")?, webhook: tls::server(&own, b"http/1.1")? };
    Ok((settings, own.renew_at))
}

/// What each server takes its settings from.
pub struct Ready {
    /// Of the port of proxies.
    pub control: watch::Receiver<Arc<ServerConfig>>,
    /// Of the webhook.
    pub webhook: watch::Receiver<Arc<ServerConfig>>,
}

/// Waits for the first, and follows those that come after.
pub async fn ready(mut own: Receiver) -> Ready {
    let first = own.wait_for(Option::is_some).await.ok().and_then(|settings| settings.clone());
    let Some(first) = first else { return std::future::pending().await };
    let (control, controls) = watch::channel(first.control);
    let (webhook, webhooks) = watch::channel(first.webhook);
    tokio::spawn(async move {
        while own.changed().await.is_ok() {
            let Some(next) = own.borrow_and_update().clone() else { continue };
            control.send_replace(next.control);
            webhook.send_replace(next.webhook);
        }
    });
    Ready { control: controls, webhook: webhooks }
}
