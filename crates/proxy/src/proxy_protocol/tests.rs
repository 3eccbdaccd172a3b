use super::*;

fn v2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = V2_SIGNATURE.to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

fn addresses(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match parse(bytes).unwrap() {
        Parsed::Complete { addresses, .. } => addresses,
        Parsed::Incomplete => panic!("incomplete"),
    }
}

#[test]
fn version_1_is_read() {
    let bytes = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET /";
    let expected = Some(("192.0.2.1:56324".parse().unwrap(), "198.51.100.2:443".parse().unwrap()));
    assert_eq!(parse(bytes), Ok(Parsed::Complete { length: 45, addresses: expected }));
    assert!(addresses(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n").unwrap().0.is_ipv6());
    assert_eq!(addresses(b"PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n"), None);
}

#[test]
fn version_1_is_strict() {
    for bytes in [
        &b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n"[..],
        b"PROXY TCP4 192.0.2.1 198.51.100.2 056324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 70000 443\r\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.2 1 443\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.2 1 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 443 \r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.2 1 443\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        &[b'P'; 200],
    ] {
        assert!(parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
    }
    let mut long = b"PROXY UNKNOWN ".to_vec();
    long.resize(200, b'x');
    assert_eq!(parse(&long), Err(ParseError::TooLong));
}

#[test]
fn version_2_is_read_with_its_extensions() {
    let mut body = vec![192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 4, 1, 0xbb];
    body.extend([0x04, 0, 3, 0, 0, 0]); // PP2_TYPE_NOOP
    body.extend([0x20, 0, 2, 1, 2]); // PP2_TYPE_SSL
    let bytes = v2_header(1, 0x11, &body);
    assert_eq!(
        addresses(&bytes),
        Some(("192.0.2.1:56324".parse().unwrap(), "198.51.100.2:443".parse().unwrap()))
    );
    for end in 0..bytes.len() {
        assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "cut at {end}");
    }
}

#[test]
fn local_and_unspecified_connections_keep_their_own_addresses() {
    assert_eq!(addresses(&v2_header(0, 0x00, &[])), None);
    assert_eq!(addresses(&v2_header(0, 0x11, &[9; 12])), None);
    assert_eq!(addresses(&v2_header(1, 0x00, &[1, 2, 3])), None);
    assert_eq!(addresses(&v2_header(1, 0x31, &[0; 216])), None);
}

#[test]
fn version_2_is_strict() {
    let mut wrong_version = v2_header(1, 0x11, &[0; 12]);
    wrong_version[12] = 0x31;
    for bytes in [
        v2_header(1, 0x11, &[0; 11]),
        v2_header(1, 0x21, &[0; 35]),
        v2_header(1, 0x12, &[0; 12]),
        v2_header(2, 0x11, &[0; 12]),
        v2_header(1, 0x11, &[[0; 12].as_slice(), &[4, 0, 9, 1]].concat()),
        v2_header(1, 0x11, &[[0; 12].as_slice(), &[4, 0]].concat()),
        v2_header(1, 0x11, &[0; 5000]),
        wrong_version,
    ] {
        assert!(parse(&bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let v4 = ("192.0.2.1:1".parse().unwrap(), "198.51.100.2:2".parse().unwrap());
    let v6 = ("[2001:db8::1]:1".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap());
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        for pair in [Some(v4), Some(v6), None] {
            assert_eq!(addresses(&write(version, pair, true)), pair);
        }
    }
    assert_eq!(addresses(&write(ProxyProtocol::V2, None, false)), None);
}

#[test]
fn a_network_knows_its_addresses() {
    let fits = |network: &str, ip: &str| network.parse::<Network>().unwrap().contains(ip.parse().unwrap());
    assert!(fits("10.0.0.0/8", "10.255.0.1") && !fits("10.0.0.0/8", "11.0.0.1"));
    assert!(fits("0.0.0.0/0", "203.0.113.9") && !fits("0.0.0.0/0", "2001:db8::1"));
    assert!(fits("192.0.2.7", "192.0.2.7") && !fits("192.0.2.7", "192.0.2.8"));
    assert!(fits("127.0.0.0/8", "::ffff:127.0.0.1"));
    assert!(fits("2001:db8::/32", "2001:db8:1::") && !fits("2001:db8::/32", "2001:db9::"));
    assert!("10.0.0.0/33".parse::<Network>().is_err() && "x".parse::<Network>().is_err());
}
