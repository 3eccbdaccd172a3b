//! The proof of `handfast up`: both sites are tried from outside, as `handfast test` tries any server.

use std::net::SocketAddr;

use probe::dial::Endpoint;
use probe::test::{Expect, Plan, Report, Target};

use super::credentials::{Credentials, SITE};
use crate::commands::test;
use crate::failure::Failure;

/// Tries the one-way and the mutual site; the two reports in that order.
pub async fn run(
    credentials: &Credentials,
    one_way: SocketAddr,
    mutual: SocketAddr,
) -> Result<(Report, Report), Failure> {
    let roots = || test::read_roots(&credentials.bundle);
    let pair = |pair: &super::credentials::Pair| {
        test::pair(&Some(pair.certificate.clone()), &Some(pair.key.clone()))
    };
    let open = Plan::new(
        target(one_way)?,
        probe::test::Credentials { roots: roots()?, ..Default::default() },
        Expect::OneWay,
    );
    let closed = probe::test::Credentials {
        good: pair(&credentials.allowed)?,
        issuer: Some(test::read_issuer(&credentials.issuer.certificate, &credentials.issuer.key)?),
        revoked: pair(&credentials.revoked)?,
        stranger: pair(&credentials.stranger)?,
        roots: roots()?,
        ..Default::default()
    };
    let closed = Plan { has_list: true, ..Plan::new(target(mutual)?, closed, Expect::Mutual) };
    let (open, closed) = tokio::join!(probe::test::run(open, |_| ()), probe::test::run(closed, |_| ()));
    Ok((open?, closed?))
}

fn target(address: SocketAddr) -> Result<Target, Failure> {
    let endpoint: Endpoint = address.to_string().parse().map_err(Failure::usage)?;
    Ok(Target { endpoint, name: SITE.to_owned(), other_name: None, http_path: Some("/whoami".to_owned()) })
}
