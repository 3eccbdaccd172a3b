//! Writes DER (X.690): just enough to make certificates that no well-behaved library would make.

/// One element: tag, length, content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let skip = bytes.iter().take_while(|byte| **byte == 0).count();
        out.push(0x80 | (bytes.len() - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    }
    out.extend_from_slice(content);
    out
}

/// SEQUENCE of elements that are encoded already.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

/// INTEGER from an unsigned big-endian number.
pub fn integer(number: &[u8]) -> Vec<u8> {
    let skip = number.iter().take_while(|byte| **byte == 0).count();
    let digits = &number[skip..];
    let mut content = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    element(0x02, &content)
}

/// OBJECT IDENTIFIER.
pub fn oid(components: &[u64]) -> Vec<u8> {
    let (first, second) = (components.first().unwrap_or(&0), components.get(1).unwrap_or(&0));
    let mut content = Vec::new();
    let mut push = |number: u64| {
        let mut groups = vec![(number & 0x7f) as u8];
        let mut rest = number >> 7;
        while rest > 0 {
            groups.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        content.extend(groups.iter().rev());
    };
    push(first * 40 + second);
    components.iter().skip(2).for_each(|number| push(*number));
    element(0x06, &content)
}

/// BIT STRING without unused bits.
pub fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(0x03, &[&[0], bytes].concat())
}

/// OCTET STRING.
pub fn octet_string(bytes: &[u8]) -> Vec<u8> {
    element(0x04, bytes)
}

/// A time in the form that RFC 5280 section 4.1.2.5 asks for: UTCTime to 2049, GeneralizedTime later.
pub fn time(at: time::OffsetDateTime) -> Vec<u8> {
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    if at.year() < 2050 {
        element(0x17, format!("{:02}{rest}", at.year().rem_euclid(100)).as_bytes())
    } else {
        element(0x18, format!("{:04}{rest}", at.year()).as_bytes())
    }
}

/// A distinguished name with one common name.
pub fn common_name(name: &str) -> Vec<u8> {
    let attribute = sequence(&[&oid(&[2, 5, 4, 3]), &element(0x0c, name.as_bytes())]);
    sequence(&[&element(0x31, &attribute)])
}
