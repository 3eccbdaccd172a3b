//! Pages in place of errors: nginx's `error_page`, with 495 (bad client certificate), 496 (none) and 497
//! (plain HTTP on the TLS port).

use model::snapshot::ErrorPage;

use super::exchange::Exchange;
use super::site::Compile;
use super::text::Text;
use crate::error::Error;

/// The pages of a host or route.
#[derive(Debug, Default)]
pub struct ErrorPages(Vec<Page>);

#[derive(Debug)]
struct Page {
    statuses: Vec<u16>,
    to: Text,
    status: Option<u16>,
}

/// What is shown in place of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// An internal redirect to a path.
    Path {
        /// The path, maybe with a query.
        path: String,
        /// The status that the client sees; none: the page's own.
        status: Option<u16>,
    },
    /// An internal redirect to `@name`.
    Named {
        /// The name without `@`.
        name: String,
        /// As above.
        status: Option<u16>,
    },
    /// A redirect of the client.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Where to.
        to: String,
    },
}

impl ErrorPages {
    /// Compiles the pages.
    pub fn new(pages: &[ErrorPage], compile: &mut Compile<'_, '_>) -> Result<Self, Error> {
        let page = |page: &ErrorPage| Page {
            statuses: page.statuses.clone(),
            to: compile.text(&page.to),
            status: page.status,
        };
        Ok(Self(pages.iter().map(page).collect()))
    }

    /// Whether there is a page for a status.
    pub fn has(&self, status: u16) -> bool {
        self.0.iter().any(|page| page.statuses.contains(&status))
    }

    /// The page for a status. `shown` is the status that the client would see without it.
    pub fn find(&self, status: u16, shown: u16, x: &Exchange) -> Option<Shown> {
        let page = self.0.iter().find(|page| page.statuses.contains(&status))?;
        let to = page.to.expand(x).into_owned();
        // None keeps the error's status, 0 takes the page's own.
        let answered = match page.status {
            None => Some(shown),
            Some(0) => None,
            Some(other) => Some(other),
        };
        Some(if let Some(name) = to.strip_prefix('@') {
            Shown::Named { name: name.to_owned(), status: answered }
        } else if to.starts_with('/') {
            Shown::Path { path: to, status: answered }
        } else {
            let redirects = |status: &u16| matches!(status, 301 | 302 | 303 | 307 | 308);
            let status = page.status.filter(redirects).unwrap_or(302);
            Shown::Redirect { status, to }
        })
    }
}
