//! Files answer: which file a path means ([`FilesSite::file_name`]), `try_files`, index, listing, and the
//! answer itself ([`serve()`]). Neighbours: [`open`] (the file system), [`ranges`], [`types`], [`listing`].

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use http::{HeaderValue, Method};
use model::codes::usage;
use model::pattern::PathPattern;
use model::snapshot::Files;
use model::template::Template;

use super::exchange::Exchange;
use super::site::{Compile, prefix_of};
use super::text::Text;
use crate::error::Error;

mod body;
mod listing;
mod open;
mod ranges;
mod serve;
#[cfg(test)]
mod tests;
mod types;

pub use body::FileBody;
pub(super) use serve::list;
pub use serve::{Changed, serve};
pub use types::Types;

/// A route that is answered by files, compiled.
#[derive(Debug)]
pub struct FilesSite {
    place: Place,
    base: PathBuf,
    prefix: Option<String>,
    glued: bool,
    index: Vec<Text>,
    try_files: Vec<Tried>,
    listing: bool,
    precompressed: bool,
    etag: bool,
    types: types::Types,
    follow_links: bool,
}

/// A name of `try_files`.
#[derive(Debug)]
struct Tried {
    /// The path, up to its `?`, and without the slash of a folder.
    path: Text,
    /// It was written with a slash at its end: a folder is looked for.
    folder: bool,
    query: Option<Text>,
}

#[derive(Debug)]
enum Place {
    Root(Text),
    Alias(Text),
}

/// What a path leads to.
#[derive(Debug)]
pub enum Found {
    /// A file (or folder, to be redirected) of this name.
    File(PathBuf),
    /// Another path, by an internal redirect, and its query where it has one of its own.
    Internal(String, Option<String>),
    /// `@name`.
    Named(String),
    /// An answer of this status: an error or a configured code.
    Status(u16),
    /// A folder that is listed.
    List(PathBuf),
}

impl FilesSite {
    /// Compiles a route.
    pub fn new(files: &Files, pattern: &PathPattern, compile: &mut Compile<'_, '_>) -> Result<Self, Error> {
        let place = match (&files.root, &files.alias) {
            (_, Some(alias)) => Place::Alias(compile.text(alias)),
            (Some(root), None) => Place::Root(compile.text(root)),
            (None, None) => {
                return Err(Error::new(
                    &usage::USAGE,
                    format!("the route {pattern} has neither root nor alias"),
                ));
            }
        };
        Ok(Self {
            place,
            base: compile.assembly.snapshot.base.clone(),
            prefix: prefix_of(pattern).map(str::to_owned),
            index: files.index.iter().map(|text| compile.text(text)).collect(),
            try_files: files.try_files.iter().map(|text| Tried::new(text, compile)).collect(),
            glued: files.glued,
            listing: files.listing,
            precompressed: files.precompressed,
            etag: files.etag,
            types: types::Types::new(files),
            follow_links: files.follow_links,
        })
    }

    /// The type of files whose suffix says nothing.
    pub fn default_type(&self) -> Option<HeaderValue> {
        self.types.default_type()
    }

    /// `$document_root`: the root or alias.
    pub fn document_root(&self, x: &Exchange) -> String {
        let (Place::Root(text) | Place::Alias(text)) = &self.place;
        self.base.join(os(&text.expand_path(x))).to_string_lossy().into_owned()
    }

    /// `$request_filename`: the name of the file that a path means.
    pub fn file_name(&self, x: &Exchange, path: &str) -> String {
        self.locate(x, path).map(|place| place.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The file that a path means; none where it would lead out of the folder.
    fn locate(&self, x: &Exchange, path: &str) -> Option<PathBuf> {
        let (folder, rest) = match &self.place {
            Place::Root(root) => (self.expand_folder(root, x)?, path.trim_start_matches('/')),
            Place::Alias(alias) => {
                let folder = self.expand_folder(alias, x)?;
                let Some(prefix) = &self.prefix else { return Some(folder) };
                let rest = path.strip_prefix(prefix.as_str()).unwrap_or_default();
                if self.glued {
                    // nginx glues the two together: `alias /srv/a;` and `/ib` mean `/srv/ab`.
                    let mut glued = folder.into_os_string();
                    glued.push(os(rest));
                    return is_inside(rest).then(|| PathBuf::from(glued));
                }
                // The prefix of a path ends where a name ends: `/st` is no part of `/st-private`.
                if !(rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')) {
                    return None;
                }
                (folder, rest.trim_start_matches('/'))
            }
        };
        is_inside(rest).then(|| if rest.is_empty() { folder } else { folder.join(os(rest)) })
    }

    fn expand_folder(&self, text: &Text, x: &Exchange) -> Option<PathBuf> {
        let folder = text.expand_path(x);
        let folder = PathBuf::from(os(&folder).into_owned());
        // What a client may choose a part of must not climb.
        let climbs = || folder.components().any(|part| part == Component::ParentDir);
        if text.fixed().is_none() && (climbs() || folder.as_os_str().as_bytes().contains(&0)) {
            return None;
        }
        Some(self.base.join(folder))
    }

    /// The folder below which links may lead, where they may not lead anywhere.
    fn boundary(&self, x: &Exchange) -> Option<PathBuf> {
        if self.follow_links {
            return None;
        }
        match &self.place {
            Place::Root(root) => self.expand_folder(root, x),
            Place::Alias(alias) => {
                let folder = self.expand_folder(alias, x)?;
                if self.prefix.is_some() { Some(folder) } else { folder.parent().map(Path::to_owned) }
            }
        }
    }

    /// What the request's path leads to. `x.path` becomes the path of `try_files` that was found.
    pub fn find(&self, x: &mut Exchange) -> Found {
        if let Some(found) = self.try_each(x) {
            return found;
        }
        if !matches!(x.request.method, Method::GET | Method::HEAD) {
            // A folder or file that does not exist is 404 for every method, as in nginx only for GET and HEAD.
            return Found::Status(405);
        }
        let path = x.path().to_owned();
        let Some(name) = self.locate(x, &path) else { return Found::Status(404) };
        if !path.ends_with('/') {
            return Found::File(name);
        }
        let boundary = self.boundary(x);
        for index in &self.index {
            let index = index.expand_path(x).into_owned();
            if index.starts_with('/') {
                return Found::Internal(index, None);
            }
            if is_inside(&index) && open::is_file(&name.join(os(&index)), boundary.as_deref()) {
                return Found::Internal(format!("{path}{index}"), None);
            }
        }
        match open::kind(&name, boundary.as_deref()) {
            open::Kind::Folder if self.listing => Found::List(name),
            open::Kind::Folder | open::Kind::Forbidden => Found::Status(403),
            _ => Found::Status(404),
        }
    }

    /// `try_files`: the first that exists, else the last.
    fn try_each(&self, x: &mut Exchange) -> Option<Found> {
        let (last, others) = self.try_files.split_last()?;
        let boundary = self.boundary(x);
        for tried in others {
            let path = tried.path.expand_path(x);
            let rooted = if path.starts_with('/') { path } else { format!("/{path}").into() };
            let Ok(rooted) = super::path::normalize_decoded(&rooted) else { continue };
            let Some(name) = self.locate_tried(x, &rooted) else { continue };
            let found = match open::kind(&name, boundary.as_deref()) {
                open::Kind::Folder => tried.folder,
                open::Kind::Missing | open::Kind::Exhausted | open::Kind::Forbidden => false,
                open::Kind::File => !tried.folder && !rooted.ends_with('/'),
                open::Kind::Other => !tried.folder,
            };
            if found {
                // A folder that was found without its slash is redirected to the name with it, as in nginx.
                if rooted != x.path() {
                    x.set_path(rooted);
                }
                return None;
            }
        }
        let path = last.path.expand_path(x).into_owned();
        Some(if let Some(code) = path.strip_prefix('=') {
            Found::Status(code.parse().unwrap_or(404))
        } else if let Some(name) = path.strip_prefix('@') {
            Found::Named(name.to_owned())
        } else {
            let slash = if last.folder { "/" } else { "" };
            let root = if path.starts_with('/') || (path.is_empty() && last.folder) { "" } else { "/" };
            let query = last.query.as_ref().map(|query| query.expand(x).into_owned());
            Found::Internal(format!("{root}{path}{slash}"), query)
        })
    }

    fn locate_tried(&self, x: &Exchange, path: &str) -> Option<PathBuf> {
        match (&self.place, &self.prefix) {
            // A regular expression's alias is a whole file name: tried paths stand below it, as in nginx.
            (Place::Alias(alias), None) => {
                let folder = self.expand_folder(alias, x)?;
                is_inside(path.trim_start_matches('/')).then(|| folder.join(os(path.trim_start_matches('/'))))
            }
            _ => self.locate(x, path),
        }
    }
}

impl Tried {
    fn new(template: &Template, compile: &mut Compile<'_, '_>) -> Self {
        let written = template.to_string();
        let (path, query) = match written.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (written.as_str(), None),
        };
        let (path, folder) = match path.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (path, false),
        };
        let mut text = |part: &str| compile.text(&part.parse().unwrap_or_default());
        Self { path: text(path), folder, query: query.map(text) }
    }
}

/// A piece of a path as the file system knows it.
fn os(path: &str) -> Cow<'_, OsStr> {
    match super::path::bytes(path) {
        Cow::Borrowed(bytes) => Cow::Borrowed(OsStr::from_bytes(bytes)),
        Cow::Owned(bytes) => Cow::Owned(OsString::from_vec(bytes)),
    }
}

/// Whether a relative name stays below its folder.
fn is_inside(rest: &str) -> bool {
    !rest.contains('\0') && !rest.split('/').any(|part| part == "..")
}
