use super::*;

fn best(accept: &str) -> Option<Coding> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, accept.parse().unwrap());
    negotiate(&headers, true, true)
}

#[test]
fn the_best_coding_that_a_client_takes_is_chosen() {
    for (accept, expected) in [
        ("gzip, br", Some(Coding::Brotli)),
        ("gzip", Some(Coding::Gzip)),
        ("gzip;q=1.0, br;q=0.5", Some(Coding::Gzip)),
        ("br;q=0, gzip", Some(Coding::Gzip)),
        ("*", Some(Coding::Brotli)),
        ("*;q=0", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("", None),
    ] {
        assert_eq!(best(accept), expected, "{accept}");
    }
}

fn read(mut body: Compressor) -> Vec<u8> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut out = Vec::new();
    while let Poll::Ready(Some(frame)) = body.poll_frame(&mut cx) {
        out.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    out
}

#[test]
fn what_is_compressed_comes_out_again() {
    let text = "the same words again and again ".repeat(5_000);
    let gzip = read(Compressor::new(Kind::from(text.clone()), Coding::Gzip));
    let mut back = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut back).unwrap();
    assert!(back == text && gzip.len() < text.len() / 10);
    let br = read(Compressor::new(Kind::from(text.clone()), Coding::Brotli));
    let mut back = String::new();
    std::io::Read::read_to_string(&mut brotli::Decompressor::new(&br[..], 4096), &mut back).unwrap();
    assert!(back == text && br.len() < text.len() / 10);
}

#[test]
fn a_strong_etag_becomes_weak() {
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, "\"a\"".parse().unwrap());
    weaken_etag(&mut headers);
    assert_eq!(headers[header::ETAG], "W/\"a\"");
    weaken_etag(&mut headers);
    assert_eq!(headers[header::ETAG], "W/\"a\"");
}
