//! Compression of answers on the way: gzip and brotli, streaming. What waits inside of the encoder is let out
//! whenever the body pauses, so that events reach the client when they happen.

use std::io::Write as _;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Frame;
use model::snapshot::Compression;

use super::body::{BodyError, Kind};

#[cfg(test)]
mod tests;

/// A content coding that is made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `br`.
    Brotli,
    /// `gzip`.
    Gzip,
}

impl Coding {
    /// Its token.
    pub fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// The best coding that a client takes (RFC 9110, section 12.5.3), brotli before gzip where both weigh the same.
pub fn negotiate(headers: &HeaderMap, brotli: bool, gzip: bool) -> Option<Coding> {
    let mut weights = [None; 2];
    let mut any = None;
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        let Ok(text) = value.to_str() else { continue };
        for item in text.split(',') {
            let mut parts = item.split(';');
            let name = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
            let weight = parts
                .find_map(|part| part.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()))
                .unwrap_or(1.0);
            match name.as_str() {
                "br" => weights[0] = Some(weight),
                "gzip" | "x-gzip" => weights[1] = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
    }
    let weight = |n: usize| weights[n].or(any).unwrap_or(0.0);
    let (br, gz) = (if brotli { weight(0) } else { 0.0 }, if gzip { weight(1) } else { 0.0 });
    if br <= 0.0 && gz <= 0.0 {
        None
    } else if br >= gz {
        Some(Coding::Brotli)
    } else {
        Some(Coding::Gzip)
    }
}

/// Compresses an answer where the route wants it, the client takes it and it makes sense.
pub fn apply(
    rules: &Compression,
    method: &Method,
    request: &HeaderMap,
    mut answer: Response<Kind>,
) -> Response<Kind> {
    let status = answer.status();
    let suits = matches!(status.as_u16(), 200 | 403 | 404)
        && !answer.headers().contains_key(header::CONTENT_ENCODING)
        && !answer.headers().contains_key(header::CONTENT_RANGE)
        && !has_no_transform(answer.headers())
        && is_listed(rules, answer.headers())
        && length(&answer).is_none_or(|length| length >= rules.min_bytes.0)
        && !answer.body().is_end_stream();
    if !suits {
        return answer;
    }
    vary(answer.headers_mut());
    let Some(coding) = negotiate(request, rules.brotli, rules.gzip) else { return answer };
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
    weaken_etag(headers);
    if method == Method::HEAD {
        return answer;
    }
    answer.map(|body| Kind::Compressed(Box::new(Compressor::new(body, coding))))
}

fn length(answer: &Response<Kind>) -> Option<u64> {
    answer.body().size_hint().exact().or_else(|| {
        answer
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse().ok())
    })
}

fn has_no_transform(headers: &HeaderMap) -> bool {
    super::headers::any_has_token(headers, &header::CACHE_CONTROL, "no-transform")
}

fn is_listed(rules: &Compression, headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let kind = value.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/html")
        || rules.types.iter().any(|listed| listed == "*" || listed.eq_ignore_ascii_case(kind))
}

/// Says that the answer depends on Accept-Encoding.
pub fn vary(headers: &mut HeaderMap) {
    if !super::headers::any_has_token(headers, &header::VARY, "accept-encoding")
        && !super::headers::any_has_token(headers, &header::VARY, "*")
    {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// A compressed body is the same only in meaning: its ETag is weak (RFC 9110, section 8.8.3).
fn weaken_etag(headers: &mut HeaderMap) {
    if let Some(etag) = headers.get(header::ETAG)
        && !etag.as_bytes().starts_with(b"W/")
    {
        let weak = [b"W/", etag.as_bytes()].concat();
        match HeaderValue::from_bytes(&weak) {
            Ok(weak) => headers.insert(header::ETAG, weak),
            Err(_) => headers.remove(header::ETAG),
        };
    }
}

/// A body that is compressed on the way.
pub struct Compressor {
    from: Kind,
    encoder: Option<Encoder>,
    /// Something was written since the encoder was last flushed.
    holds_back: bool,
    trailers: Option<HeaderMap>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("from", &self.from).finish_non_exhaustive()
    }
}

enum Encoder {
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(data),
            Self::Brotli(encoder) => encoder.write_all(data),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
        }
    }

    fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
        };
        let bytes = BytesMut::from(&out[..]).freeze();
        out.clear();
        bytes
    }

    fn finish(self) -> std::io::Result<Bytes> {
        Ok(match self {
            Self::Gzip(encoder) => encoder.finish()?.into(),
            Self::Brotli(encoder) => encoder.into_inner().into(),
        })
    }

    fn waiting(&self) -> usize {
        match self {
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Brotli(encoder) => encoder.get_ref().len(),
        }
    }
}

/// Output gathers up to this before it is passed on.
const ENOUGH: usize = 16 << 10;

impl Compressor {
    /// Compresses a body.
    pub fn new(from: Kind, coding: Coding) -> Self {
        let encoder = match coding {
            Coding::Gzip => Encoder::Gzip(Box::new(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::new(4),
            ))),
            // Quality 4 and a window of 512 KiB: about gzip's time, and bounded memory.
            Coding::Brotli => {
                Encoder::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 8192, 4, 19)))
            }
        };
        Self { from, encoder: Some(encoder), holds_back: false, trailers: None }
    }

    /// The next frame.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            match self.from.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        encoder.write(&data)?;
                        self.holds_back = true;
                        if encoder.waiting() >= ENOUGH {
                            return Poll::Ready(Some(Ok(Frame::data(encoder.take()))));
                        }
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    let rest = match self.encoder.take() {
                        Some(encoder) => encoder.finish()?,
                        None => Bytes::new(),
                    };
                    if !rest.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                }
                Poll::Pending => {
                    if self.holds_back {
                        self.holds_back = false;
                        encoder.flush()?;
                    }
                    if encoder.waiting() > 0 {
                        return Poll::Ready(Some(Ok(Frame::data(encoder.take()))));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Whether an answer of this status has no body by its definition.
pub fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}
