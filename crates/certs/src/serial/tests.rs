use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[test]
fn random_ones_have_128_bits_and_differ() {
    let all: HashSet<Serial> = (0..2000).map(|_| Serial::random().unwrap()).collect();
    assert_eq!(all.len(), 2000);
    assert!(all.iter().all(|serial| serial.as_bytes().len() == 16 && serial.to_string().len() == 32));
    // Every bit is used: 2000 numbers without one of them would be a defect, not chance.
    for bit in 0..128 {
        assert!(all.iter().any(|serial| serial.as_bytes()[bit / 8] >> (bit % 8) & 1 == 1), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn every_serial_is_written_and_read_back(bytes in proptest::collection::vec(any::<u8>(), 1..=20)) {
        let serial = Serial::from_bytes(&bytes);
        prop_assert_eq!(serial.to_string().parse::<Serial>().unwrap(), serial.clone());
        prop_assert_eq!(serial.to_string().to_lowercase().parse::<Serial>().unwrap(), serial);
    }

    #[test]
    fn reading_never_panics(text in "\\PC{0,60}") {
        let _ = text.parse::<Serial>();
    }
}
