//! Everything HTTP. [`serve()`] speaks HTTP/1 or HTTP/2 with a client; [`pipeline`] is the way of a request;
//! [`forward`] asks a service; [`files`] reads files. What is configured is compiled into a [`Site`] once.

pub mod answer;
pub mod auth;
pub mod body;
pub mod compress;
pub mod error_pages;
pub mod exchange;
pub mod files;
pub mod forward;
pub mod framing;
mod guards;
pub mod headers;
pub mod hosts;
pub mod identity;
pub mod limits;
pub mod locations;
pub mod log;
pub mod maps;
pub mod metrics;
pub mod path;
pub mod pipeline;
pub mod pulse;
pub mod request;
pub mod respond;
pub mod serve;
pub mod site;
pub mod steps;
pub mod text;
pub mod upgrade;
pub mod variables;

#[cfg(test)]
pub(crate) mod tests;

pub use hosts::HostIndex;
pub use serve::serve;
pub use site::Site;

use crate::connection::Connection;
use crate::state::Traffic;

/// The site of a connection's listener. HTTP is spoken on listeners that have one only; any other has one
/// without hosts, on which every request is refused.
pub(crate) fn site_of(connection: &Connection) -> &Site {
    static NOTHING: std::sync::OnceLock<Site> = std::sync::OnceLock::new();
    match &connection.listener.traffic {
        Traffic::Http(site) => site,
        Traffic::Tcp(_) => NOTHING.get_or_init(Site::default),
    }
}
