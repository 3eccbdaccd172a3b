//! `include`: finds the files that a mask names, relative to the folder of the main file, under bounds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::codes::configuration as codes;

use super::parser::{Directive, Reading, parse_nested};
use crate::error::Finding;
use crate::source::Source;

/// The deepest include within an include.
const MAX_NESTING: usize = 16;
/// The most files.
const MAX_FILES: usize = 1_000;
/// The most bytes of all files together.
const MAX_TOTAL: usize = 16 << 20;

/// Where included files come from.
pub(crate) trait Includes {
    /// The files of a mask, in order.
    fn find(&mut self, mask: &str) -> Result<Vec<Arc<Source>>, String>;
    /// A file that is read now, so that it is not included within itself; `false` where it is being read.
    fn enter(&mut self, path: &Path) -> bool;
    /// A file that was read.
    fn leave(&mut self);
}

/// Includes from the file system.
pub(crate) struct Folder {
    /// The folder of the main file.
    pub(crate) base: PathBuf,
    /// Every file that was read.
    pub(crate) read: Vec<PathBuf>,
    total: usize,
    stack: Vec<PathBuf>,
}

impl Folder {
    pub(crate) fn new(base: PathBuf, main: &Path) -> Self {
        Self { base, read: vec![main.to_owned()], total: 0, stack: vec![canonical(main)] }
    }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

impl Includes for Folder {
    fn find(&mut self, mask: &str) -> Result<Vec<Arc<Source>>, String> {
        let full = self.base.join(mask);
        let paths = if mask.contains(['*', '?', '[']) {
            let full = full.to_str().ok_or("the path is not UTF-8 text")?;
            let options = glob::MatchOptions {
                case_sensitive: true,
                require_literal_separator: true,
                // As glob(3): `*` does not match hidden files.
                require_literal_leading_dot: true,
            };
            let found = glob::glob_with(full, options).map_err(|error| error.to_string())?;
            found.filter_map(Result::ok).filter(|path| path.is_file()).take(MAX_FILES + 1).collect()
        } else {
            vec![full]
        };
        let mut sources = Vec::new();
        for path in paths {
            if self.read.len() >= MAX_FILES {
                return Err(format!("more than {MAX_FILES} files are included"));
            }
            let text = match crate::read(&path) {
                Ok(text) => text,
                // A configuration that was moved here names the table of Debian's nginx.
                Err(_) if !path.exists() && path.ends_with("mime.types") => {
                    super::mime::AS_CONFIGURATION.to_owned()
                }
                Err(error) => return Err(error.to_string()),
            };
            self.total += text.len();
            if self.total > MAX_TOTAL {
                return Err(format!("included files hold more than {MAX_TOTAL} bytes"));
            }
            self.read.push(path.clone());
            sources.push(Source::new(path, text));
        }
        Ok(sources)
    }

    fn enter(&mut self, path: &Path) -> bool {
        let path = canonical(path);
        let fresh = !self.stack.contains(&path) && self.stack.len() <= MAX_NESTING;
        self.stack.push(path);
        fresh
    }

    fn leave(&mut self) {
        self.stack.pop();
    }
}

/// No files: a text at hand, such as a fuzzer's. Only the table of content types is known.
pub(crate) struct Nowhere;

impl Includes for Nowhere {
    fn find(&mut self, mask: &str) -> Result<Vec<Arc<Source>>, String> {
        if mask.ends_with("mime.types") {
            return Ok(vec![Source::new("mime.types", super::mime::AS_CONFIGURATION)]);
        }
        Err("this text has no folder to include from".to_owned())
    }

    fn enter(&mut self, _path: &Path) -> bool {
        true
    }

    fn leave(&mut self) {}
}

/// The directives of the files that an `include` names.
pub(super) fn include(
    directive: &Directive,
    reading: &mut Reading<'_>,
    depth: usize,
) -> Result<Vec<Directive>, Finding> {
    let wrong = |message: String| {
        Finding::new(&codes::INCLUDE, message)
            .at(directive.first().place.clone())
            .help("the path is relative to the folder of the main file")
    };
    let [mask] = directive.args.as_slice() else {
        return Err(
            Finding::new(&codes::WRONG_ARGUMENTS, "`include` takes one path or mask").at(directive.place())
        );
    };
    let sources = reading.includes.find(&mask.text).map_err(wrong)?;
    let mut directives = Vec::new();
    for source in sources {
        let fresh = reading.includes.enter(&source.name);
        if !fresh {
            return Err(wrong(format!(
                "{} includes itself, or includes are nested too deeply",
                source.name.display()
            )));
        }
        let inner = parse_nested(&source, reading, depth);
        reading.includes.leave();
        directives.extend(inner?);
    }
    Ok(directives)
}
