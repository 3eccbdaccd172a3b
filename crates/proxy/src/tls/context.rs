//! What one handshake found out, beside what the TLS library returns. Its callbacks (verify a certificate, seal
//! a ticket) know no connection, but they run inside of a poll of the handshake's future: [`within`] lays the
//! handshake's own notes on the thread for the length of each poll, and takes them away after it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use certs::verify::{Alert, Rejection};
use model::peer::Peer;
use rustls::CertificateError;

thread_local! {
    static CURRENT: RefCell<Notes> = RefCell::default();
}

/// The notes of one handshake.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Why the peer's certificate was refused.
    pub(crate) rejection: Option<Rejection>,
    /// Whom the refused certificate names.
    pub(crate) peer: Option<Arc<Peer>>,
    /// Until when what was verified holds, seconds since 1970: no ticket may live longer.
    pub(crate) until: Option<i64>,
}

/// Runs a handshake, and gives its notes with its result.
pub(crate) async fn within<F: Future>(handshake: F) -> (F::Output, Notes) {
    let mut handshake = pin!(handshake);
    let mut notes = Notes::default();
    let output = poll_fn(|cx| {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, &mut notes));
        let polled = handshake.as_mut().poll(cx);
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, &mut notes));
        polled
    })
    .await;
    (output, notes)
}

/// Writes into the notes of the handshake that is being polled.
pub(crate) fn note<T>(write: impl FnOnce(&mut Notes) -> T) -> T {
    CURRENT.with_borrow_mut(write)
}

/// Notes a rejection, and gives the error that makes the TLS library send its alert.
pub(crate) fn reject(rejection: Rejection) -> rustls::Error {
    let error = match rejection.alert() {
        Alert::UnsupportedCertificate => CertificateError::InvalidPurpose,
        Alert::CertificateRevoked => CertificateError::Revoked,
        Alert::CertificateExpired => CertificateError::Expired,
        Alert::UnknownCa => CertificateError::UnknownIssuer,
        Alert::DecryptError => CertificateError::BadSignature,
        Alert::BadCertificate | Alert::CertificateRequired => CertificateError::BadEncoding,
    };
    note(|notes| notes.rejection = Some(rejection));
    rustls::Error::InvalidCertificate(error)
}
