//! `ssl_*` of servers, of http and of stream alike.

use model::codes::configuration as codes;
use model::policy::{ClientMode, ClientPolicy, Refusal};
use model::snapshot::{CertificateFiles, ServerTls};
use model::units::Span;

use super::Translation;
use super::scope::Level;
use crate::nginx::ciphers;
use crate::nginx::parser::Directive;

impl<'a> Translation<'a> {
    /// The TLS of a server. `refuse` is how clients without a good certificate are turned away.
    pub(super) fn server_tls(&mut self, level: &Level<'a>, refuse: &Refusal) -> ServerTls {
        let mut tls = ServerTls { certificates: self.certificates(level), ..ServerTls::default() };
        if let Some(directive) = level.find("ssl_protocols")
            && let Some((least, most)) = self.protocol_range(directive)
        {
            tls.min_version = Some(least);
            tls.max_version = Some(most);
        }
        if let Some(directive) = level.find("ssl_ciphers") {
            tls.ciphers = self.cipher_list(directive, tls.min_version);
        }
        if let Some(directive) = level.find("ssl_ecdh_curve") {
            tls.groups = self.groups(directive);
        }
        if let Some(tickets) = self.flag_in(level, "ssl_session_tickets") {
            tls.tickets = Some(tickets);
        }
        tls.ticket_lifetime = Some(self.span_in(level, "ssl_session_timeout").unwrap_or(Span::seconds(300)));
        for directive in level.list(&["ssl_session_ticket_key"]) {
            self.warn(
                directive,
                "`ssl_session_ticket_key` is not read: ticket keys are made here and rotate",
            );
        }
        if let Some(directive) = level.find("ssl_early_data")
            && self.flag(directive)
        {
            self.warn(
                directive,
                "`ssl_early_data on`: early data is never accepted, since anybody can replay it",
            );
        }
        if self.flag_in(level, "ssl_reject_handshake") == Some(true) {
            tls.reject = Some(true);
        }
        tls.clients = self.clients(level, refuse);
        tls
    }

    fn certificates(&mut self, level: &Level<'a>) -> Vec<CertificateFiles> {
        let chains = level.list(&["ssl_certificate"]);
        let keys = level.list(&["ssl_certificate_key"]);
        if chains.len() != keys.len()
            && let Some(word) = chains.last().or(keys.last())
        {
            let message = format!(
                "{} ssl_certificate, but {} ssl_certificate_key: they go in pairs",
                chains.len(),
                keys.len()
            );
            self.wrong(&word.name, &codes::MISSING_KEY, message, "each certificate has one key");
        }
        let password_file = level.find("ssl_password_file").map(|file| self.literal(file.first()).into());
        chains
            .into_iter()
            .zip(keys)
            .map(|(chain, key)| {
                for word in [chain.first(), key.first()] {
                    if word.text.starts_with("data:") || word.text.starts_with("engine:") {
                        self.unsupported(word, "certificates and keys are read from files", "write a path");
                    }
                }
                CertificateFiles {
                    chain: self.literal(chain.first()).into(),
                    key: self.literal(key.first()).into(),
                    password_file: password_file.clone(),
                }
            })
            .collect()
    }

    fn groups(&mut self, directive: &Directive) -> Vec<String> {
        let word = directive.first();
        if word.text == "auto" {
            return Vec::new();
        }
        let (groups, dropped) = ciphers::groups(&word.text);
        if groups.is_empty() {
            let help = "available: X25519MLKEM768, X25519, prime256v1, secp384r1";
            self.wrong(word, &codes::NO_CIPHER_LEFT, "none of these groups is available", help);
        } else if !dropped.is_empty() {
            self.note(directive, format!("`ssl_ecdh_curve`: not available here: {}", dropped.join(", ")));
        }
        groups
    }

    fn clients(&mut self, level: &Level<'a>, refuse: &Refusal) -> Option<ClientPolicy> {
        let verify = level.find("ssl_verify_client")?;
        let mode = match verify.first().text.as_str() {
            "off" => return None,
            "on" => ClientMode::Required,
            "optional" => ClientMode::Optional,
            "optional_no_ca" => ClientMode::OptionalNoCa,
            other => {
                let message = format!("`ssl_verify_client` does not know {other:?}");
                let help = "choices: on, off, optional, optional_no_ca";
                self.wrong(verify.first(), &codes::NGINX_VALUE, message, help);
                return None;
            }
        };
        let mut policy = ClientPolicy { mode, depth: 1, refuse: refuse.clone(), ..ClientPolicy::default() };
        for (name, list) in [
            ("ssl_client_certificate", &mut policy.ca),
            ("ssl_trusted_certificate", &mut policy.trusted),
            ("ssl_crl", &mut policy.crl),
        ] {
            if let Some(directive) = level.find(name) {
                list.push(self.literal(directive.first()).into());
            }
        }
        if let Some(directive) = level.find("ssl_verify_depth") {
            let word = directive.first();
            policy.depth = self.number(word, &word.text).unwrap_or(1);
        }
        if mode != ClientMode::OptionalNoCa && policy.ca.is_empty() && policy.trusted.is_empty() {
            let message = "client certificates are asked for, but no authority is trusted";
            self.wrong(&verify.name, &codes::MISSING_KEY, message, "add `ssl_client_certificate ca.crt;`");
        }
        Some(policy)
    }
}
