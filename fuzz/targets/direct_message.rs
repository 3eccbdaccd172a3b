//! Messages of the framing between two of our proxies: from callers with a good certificate, whom no policy allowed yet.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::tunnel::direct::message::{HEAD, Head, OPEN, Open};

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<HEAD>() else { return };
    let Ok(head) = Head::parse(*head) else { return };
    assert!(head.text() <= OPEN);
    assert_eq!(Head::parse(head.bytes()), Ok(head));
    if let Ok(open) = Open::parse(rest)
        && let Some(message) = open.message()
    {
        assert_eq!(Open::parse(&message[HEAD..]), Ok(open));
    }
});
