//! The text of an nginx.conf as a tree of directives in which every word knows its place. Quotes, escapes and
//! `${}` follow `ngx_conf_read_token` of nginx; includes are put in where they stand.
//! Neighbours: [`super::include`] finds the files, [`super::check`] knows the directives.

use std::ops::Range;
use std::sync::Arc;

use model::codes::configuration as codes;

use super::include::Includes;
use crate::error::Finding;
use crate::source::{Place, Source};

/// The deepest nesting of blocks.
const MAX_DEPTH: usize = 32;
/// The most directives, includes and all.
const MAX_DIRECTIVES: usize = 100_000;

/// One word of a directive.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    /// The text without its quotes and escapes.
    pub(crate) text: String,
    /// Whether it was quoted.
    pub(crate) quoted: bool,
    /// Where it stands, quotes included.
    pub(crate) place: Place,
}

/// A directive with its words and, where it opens one, its block.
#[derive(Clone, Debug)]
pub(crate) struct Directive {
    pub(crate) name: Word,
    pub(crate) args: Vec<Word>,
    pub(crate) block: Option<Vec<Directive>>,
}

impl Directive {
    /// The name as text.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.text == name
    }

    /// The directives of its block.
    pub(crate) fn inner(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The place from its name to its last argument.
    pub(crate) fn place(&self) -> Place {
        let mut place = self.name.place.clone();
        if let Some(last) = self.args.last() {
            place.span.end = last.place.span.end;
        }
        place
    }

    /// The first argument; the name where there is none, so that errors still have a place.
    pub(crate) fn first(&self) -> &Word {
        self.args.first().unwrap_or(&self.name)
    }
}

/// What is common to all files of one configuration.
pub(crate) struct Reading<'i> {
    pub(crate) includes: &'i mut dyn Includes,
    pub(crate) directives: usize,
}

/// Reads a file and what it includes.
pub(crate) fn parse(source: &Arc<Source>, reading: &mut Reading<'_>) -> Result<Vec<Directive>, Finding> {
    parse_nested(source, reading, 0)
}

/// Reads a file that stands `depth` blocks deep.
pub(crate) fn parse_nested(
    source: &Arc<Source>,
    reading: &mut Reading<'_>,
    depth: usize,
) -> Result<Vec<Directive>, Finding> {
    let mut lexer = Lexer { source, at: if source.text.starts_with('\u{feff}') { 3 } else { 0 } };
    // Blocks that are open, each with the directive that opened it.
    let mut open: Vec<(Directive, Vec<Directive>)> = Vec::new();
    let mut current = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    loop {
        let start = lexer.skip_blank();
        match lexer.token()? {
            Token::Word(word) => words.push(word),
            Token::Semicolon => {
                let Some(directive) = directive(std::mem::take(&mut words)) else {
                    return Err(lexer.wrong(start..start + 1, "a semicolon without a directive before it"));
                };
                count(reading, &directive)?;
                if directive.is("include") {
                    let included = super::include::include(&directive, reading, depth + open.len())?;
                    current.extend(included);
                } else {
                    current.push(directive);
                }
            }
            Token::Open => {
                let Some(directive) = directive(std::mem::take(&mut words)) else {
                    return Err(lexer.wrong(start..start + 1, "a block without a directive before it"));
                };
                count(reading, &directive)?;
                refuse_foreign_block(&directive)?;
                if depth + open.len() >= MAX_DEPTH {
                    return Err(Finding::new(&codes::TOO_LARGE, "blocks are nested too deeply")
                        .at(directive.name.place));
                }
                open.push((directive, std::mem::take(&mut current)));
            }
            Token::Close => {
                if let Some(word) = words.first() {
                    let place = word.place.clone();
                    return Err(Finding::new(&codes::NGINX_SYNTAX, "the directive is not ended")
                        .at(place)
                        .help("end it with a semicolon"));
                }
                let Some((mut directive, outer)) = open.pop() else {
                    return Err(lexer.wrong(start..start + 1, "a closing brace without an opening one"));
                };
                directive.block = Some(std::mem::replace(&mut current, outer));
                current.push(directive);
            }
            Token::End => break,
        }
    }
    if let Some(word) = words.first() {
        return Err(Finding::new(&codes::NGINX_SYNTAX, "the file ends within a directive")
            .at(word.place.clone())
            .help("end it with a semicolon"));
    }
    if let Some((directive, _)) = open.last() {
        return Err(Finding::new(
            &codes::NGINX_SYNTAX,
            format!("the block `{}` is not closed", directive.name.text),
        )
        .at(directive.place())
        .help("add the closing brace"));
    }
    Ok(current)
}

fn directive(words: Vec<Word>) -> Option<Directive> {
    let mut words = words.into_iter();
    let name = words.next()?;
    Some(Directive { name, args: words.collect(), block: None })
}

fn count(reading: &mut Reading<'_>, directive: &Directive) -> Result<(), Finding> {
    reading.directives += 1;
    if reading.directives > MAX_DIRECTIVES {
        return Err(Finding::new(&codes::TOO_LARGE, format!("more than {MAX_DIRECTIVES} directives"))
            .at(directive.name.place.clone()));
    }
    Ok(())
}

/// Blocks in another language cannot even be read as nginx configuration.
fn refuse_foreign_block(directive: &Directive) -> Result<(), Finding> {
    let name = &directive.name.text;
    if name.ends_with("_by_lua_block") || name.ends_with("_by_njs_block") || name == "perl" {
        return Err(Finding::new(&codes::UNSUPPORTED_DIRECTIVE, format!("`{name}`: scripts are not run"))
            .at(directive.name.place.clone())
            .help("Handfast runs no code from its configuration; put the logic into the application"));
    }
    Ok(())
}

enum Token {
    Word(Word),
    Semicolon,
    Open,
    Close,
    End,
}

struct Lexer<'s> {
    source: &'s Arc<Source>,
    at: usize,
}

impl Lexer<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.source.text.as_bytes().get(at).copied()
    }

    fn wrong(&self, span: Range<usize>, message: impl Into<String>) -> Finding {
        Finding::new(&codes::NGINX_SYNTAX, message).at(self.source.place(span))
    }

    /// Skips space and comments, and says where the next token begins.
    fn skip_blank(&mut self) -> usize {
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'#' => {
                    while self.byte(self.at).is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => break,
            }
        }
        self.at
    }

    fn token(&mut self) -> Result<Token, Finding> {
        let start = self.at;
        let Some(byte) = self.byte(start) else { return Ok(Token::End) };
        let single = match byte {
            b';' => Token::Semicolon,
            b'{' => Token::Open,
            b'}' => Token::Close,
            b'"' | b'\'' => return self.quoted(byte),
            _ => return Ok(self.unquoted()),
        };
        self.at += 1;
        Ok(single)
    }

    fn quoted(&mut self, quote: u8) -> Result<Token, Finding> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.byte(self.at) {
                None => return Err(self.wrong(start..start + 1, "this quote is not closed")),
                Some(b'\\') => self.at += 2,
                Some(byte) if byte == quote => break,
                Some(_) => self.at += 1,
            }
        }
        let text = unescape(self.source.text.get(start + 1..self.at).unwrap_or_default());
        self.at += 1;
        match self.byte(self.at) {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b')') => {}
            Some(_) => {
                return Err(self.wrong(self.at..self.at + 1, "a closing quote is followed by a space or `;`"));
            }
        }
        Ok(Token::Word(Word { text, quoted: true, place: self.source.place(start..self.at) }))
    }

    fn unquoted(&mut self) -> Token {
        let start = self.at;
        while let Some(byte) = self.byte(self.at) {
            match byte {
                b'\\' => self.at += 2,
                // `${name}` does not open a block.
                b'$' if self.byte(self.at + 1) == Some(b'{') => self.at += 2,
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' => break,
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.source.text.len());
        let place = self.source.place(start..self.at);
        self.at = place.span.end.max(start + 1);
        let text = unescape(self.source.text.get(place.span.clone()).unwrap_or_default());
        Token::Word(Word { text, quoted: false, place })
    }
}

/// nginx's escapes: `\"`, `\'` and `\\` lose their backslash, `\t`, `\r`, `\n` are the control characters, and
/// any other backslash stays (regular expressions need it).
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut characters = raw.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        let replacement = match characters.peek() {
            Some('"') => '"',
            Some('\'') => '\'',
            Some('\\') => '\\',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('n') => '\n',
            _ => {
                text.push('\\');
                continue;
            }
        };
        text.push(replacement);
        characters.next();
    }
    text
}
