//! Keys, requests, issuing, verifying, revocation, formats and the store of the certificate authority.
