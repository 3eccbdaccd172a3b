use http::header::{HeaderMap, HeaderValue};

use super::message::{HEAD, Head, OPEN, Open, answer, status};

fn open(headers: &[(&'static str, &str)]) -> Open {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    Open { authority: "10.0.0.7:8080".into(), headers }
}

#[test]
fn what_is_written_is_read_as_it_was() {
    for head in [Head::Data(1), Head::Data((1 << 24) - 1), Head::End, Head::Open(OPEN), Head::Answer] {
        assert_eq!(Head::parse(head.bytes()), Ok(head));
    }
    for open in [open(&[]), open(&[("forwarded", "for=\"10.0.0.1:4\";host=ledger"), ("baggage", "")])] {
        let message = open.message().unwrap();
        let head = Head::parse(message[..HEAD].try_into().unwrap()).unwrap();
        assert_eq!(head, Head::Open(message.len() - HEAD));
        assert_eq!(Open::parse(&message[HEAD..]), Ok(open));
    }
    let answer = answer(503);
    assert_eq!(Head::parse(answer[..HEAD].try_into().unwrap()), Ok(Head::Answer));
    assert_eq!(status(&answer[HEAD..]), Some(503));
}

#[test]
fn an_open_on_the_wire_is_what_its_table_says() {
    let message = open(&[("baggage", "a=b")]).message().unwrap();
    let expected = b"\x02\x00\x00\x1c\x00\x0d10.0.0.7:8080\x07baggage\x00\x03a=b";
    assert_eq!(message, expected);
}

#[test]
fn what_is_malformed_is_refused() {
    for head in
        [[0, 0, 0, 0], [1, 0, 0, 1], [2, 0, 0, 0], [2, 0, 0x40, 1], [3, 0, 0, 0], [3, 0, 0, 3], [4, 0, 0, 0]]
    {
        assert!(Head::parse(head).is_err(), "{head:?}");
    }
    let good = open(&[("baggage", "a=b")]).message().unwrap()[HEAD..].to_vec();
    // Cut off anywhere but between two fields.
    for end in (0..good.len()).filter(|end| *end != 15) {
        assert!(Open::parse(&good[..end]).is_err(), "{end}");
    }
    for bad in [
        &b"\x00\x00"[..],
        b"\x00\x04\xff\xfe\xfd\xfc",
        b"\x00\x05a b:1",
        b"\x00\x03a:1\x00\x00\x00",
        b"\x00\x03a:1\x01A\x00\x00",
        b"\x00\x03a:1\x01a\x00\x01\n",
    ] {
        assert!(Open::parse(bad).is_err(), "{bad:?}");
    }
    let mut many = b"\x00\x03a:1".to_vec();
    many.extend(b"\x01a\x00\x00".repeat(32));
    assert!(Open::parse(&many).is_ok());
    many.extend(b"\x01a\x00\x00");
    assert!(Open::parse(&many).is_err());
}

#[test]
fn nobody_is_asked_in_too_many_words() {
    let long = "b".repeat(OPEN);
    assert_eq!(open(&[("baggage", &long)]).message(), None);
}
