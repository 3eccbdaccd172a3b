//! User and password (RFC 7617) against an htpasswd file: bcrypt, SHA-crypt (`$5$`, `$6$`), apr1, `{SHA}`,
//! `{SSHA}` and `{PLAIN}`.
//!
//! Hashes that are slow on purpose are computed on threads of their own, a few at a time, and what was right
//! once is remembered under a keyed hash: a browser sends the password with each request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use http::{HeaderMap, header};
use md5::{Digest as _, Md5};
use model::codes::usage;
use model::snapshot;
use tokio::sync::Semaphore;

use super::site::Compile;
use super::text::Text;
use crate::error::Error;

#[cfg(test)]
mod tests;

/// Slow hashes computed at one time.
const AT_ONCE: usize = 4;
const MOST_REMEMBERED: usize = 4096;

/// User and password of a route, compiled.
#[derive(Debug)]
pub struct BasicAuth {
    /// The realm; `off` switches it off.
    pub realm: Text,
    users: Arc<Users>,
}

struct Users {
    hashes: HashMap<String, String>,
    key: hmac::Key,
    right: Mutex<std::collections::HashSet<[u8; 32]>>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("count", &self.hashes.len()).finish_non_exhaustive()
    }
}

impl BasicAuth {
    /// Loads the users.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or a line has a kind of hash that is not known.
    pub fn new(auth: &snapshot::BasicAuth, compile: &mut Compile<'_, '_>) -> Result<Self, Error> {
        let bytes = compile.assembly.read(&auth.users)?;
        let text = String::from_utf8_lossy(&bytes);
        let users = Users::parse(&text).map_err(|line| {
            Error::new(
                &usage::USAGE,
                format!("{}: line {line} is not `user:hash` with a known kind of hash", auth.users.display()),
            )
            .fix("write it with: htpasswd -B FILE USER")
        })?;
        Ok(Self { realm: compile.text(&auth.realm), users: Arc::new(users) })
    }

    /// The user of a request, if its password is right.
    pub async fn user(&self, headers: &HeaderMap) -> Option<String> {
        let (user, password) = credentials(headers)?;
        let digest = self.users.digest(&user, &password);
        if self.users.right().contains(&digest) {
            return Some(user);
        }
        let users = Arc::clone(&self.users);
        let name = user.clone();
        // Waits its turn: a flood of wrong passwords must not take all threads.
        let turn = turns().acquire().await.ok()?;
        let right = tokio::task::spawn_blocking(move || users.verify(&name, &password)).await.ok()?;
        drop(turn);
        if !right {
            return None;
        }
        let mut remembered = self.users.right();
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(digest);
        Some(user)
    }
}

fn turns() -> &'static Semaphore {
    static TURNS: OnceLock<Semaphore> = OnceLock::new();
    TURNS.get_or_init(|| Semaphore::new(AT_ONCE))
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

impl Users {
    /// Reads an htpasswd file; `Err` is the number of the line that is wrong.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut hashes = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line.split_once(':').ok_or(number + 1)?;
            let hash = hash.split(':').next().unwrap_or_default();
            if !is_known_kind(hash) {
                return Err(number + 1);
            }
            hashes.insert(user.to_owned(), hash.to_owned());
        }
        let secret: [u8; 32] = rand::random();
        Ok(Self { hashes, key: hmac::Key::new(hmac::HMAC_SHA256, &secret), right: Mutex::default() })
    }

    fn digest(&self, user: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(user.len() as u64).to_be_bytes());
        context.update(user.as_bytes());
        context.update(password.as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    fn right(&self) -> std::sync::MutexGuard<'_, std::collections::HashSet<[u8; 32]>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verify(&self, user: &str, password: &str) -> bool {
        match self.hashes.get(user) {
            Some(hash) => matches(password, hash),
            None => {
                // As much work as for a user who exists, so that time does not tell who does.
                if let Some(other) = self.hashes.values().next() {
                    let _ = matches(password, other);
                }
                false
            }
        }
    }
}

fn is_known_kind(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2y$", "$5$", "$6$", "$apr1$", "{SHA}", "{SSHA}", "{PLAIN}"]
        .iter()
        .any(|prefix| hash.starts_with(prefix))
}

fn matches(password: &str, hash: &str) -> bool {
    let same = |a: &[u8], b: &[u8]| aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok();
    let sha1 = |parts: &[&[u8]]| {
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        parts.iter().for_each(|part| context.update(part));
        context.finish()
    };
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    if hash.starts_with("$2") {
        bcrypt::verify(password, hash).unwrap_or(false)
    } else if hash.starts_with("$5$") {
        sha_crypt::sha256_check(password, hash).is_ok()
    } else if hash.starts_with("$6$") {
        sha_crypt::sha512_check(password, hash).is_ok()
    } else if let Some(rest) = hash.strip_prefix("$apr1$") {
        let (salt, _) = rest.split_once('$').unwrap_or((rest, ""));
        same(apr1(password, salt).as_bytes(), hash.as_bytes())
    } else if let Some(encoded) = hash.strip_prefix("{SHA}") {
        same(sha1(&[password.as_bytes()]).as_ref(), &decode(encoded))
    } else if let Some(encoded) = hash.strip_prefix("{SSHA}") {
        let decoded = decode(encoded);
        let Some((sum, salt)) = decoded.split_at_checked(20) else { return false };
        same(sha1(&[password.as_bytes(), salt]).as_ref(), sum)
    } else if let Some(plain) = hash.strip_prefix("{PLAIN}") {
        same(plain.as_bytes(), password.as_bytes())
    } else {
        false
    }
}

/// Apache's variant of MD5-crypt, as `htpasswd -m` and `openssl passwd -apr1` make it.
fn apr1(password: &str, salt: &str) -> String {
    let salt = &salt[..salt.len().min(8)];
    let (password, salt_bytes) = (password.as_bytes(), salt.as_bytes());
    let mut inner = Md5::new();
    for part in [password, salt_bytes, password] {
        inner.update(part);
    }
    let mut sum = inner.finalize();
    let mut outer = Md5::new();
    for part in [password, b"$apr1$", salt_bytes] {
        outer.update(part);
    }
    let mut left = password.len();
    while left > 0 {
        outer.update(&sum[..left.min(16)]);
        left = left.saturating_sub(16);
    }
    let mut bits = password.len();
    while bits > 0 {
        outer.update(if bits & 1 == 1 { &[0u8][..] } else { &password[..1] });
        bits >>= 1;
    }
    sum = outer.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        if round & 1 == 1 {
            next.update(password)
        } else {
            next.update(sum)
        }
        if round % 3 != 0 {
            next.update(salt_bytes);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        if round & 1 == 1 {
            next.update(sum)
        } else {
            next.update(password)
        }
        sum = next.finalize();
    }
    let mut out = format!("$apr1${salt}$");
    let mut push = |value: u32, count: usize| {
        const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut value = value;
        for _ in 0..count {
            out.push(DIGITS[(value & 63) as usize] as char);
            value >>= 6;
        }
    };
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        push(u32::from(sum[a]) << 16 | u32::from(sum[b]) << 8 | u32::from(sum[c]), 4);
    }
    push(u32::from(sum[11]), 2);
    out
}
