use proptest::prelude::*;

use super::*;
use crate::fleet::FleetSecret;
use crate::fleet::keys::{Identity, Which};

fn secret(first_byte: u8) -> FleetSecret {
    FleetSecret::from_bytes((0..32).map(|n| n + first_byte).collect::<Vec<u8>>()).unwrap()
}

fn keyring() -> Keyring {
    Keyring::new("shop", &secret(0), None).unwrap()
}

fn name(token: &str) -> Name {
    let identity =
        Identity { authority: vec!["a".into()], client: vec!["b".into()], cache: "c".into(), reading: String::new() };
    keyring().name(Which::First, &identity, token.as_bytes())
}

fn header() -> Header {
    let key_id = keyring().first.id;
    Header { key_id, version: Version { epoch: 1_700_000_000_000, asked_at: 1_700_000_000_123 }, as_of: 7 }
}

const PLAIN: &[u8] = b"the facts of a token";

type Short = (fn(&Keyring, &[u8]) -> Option<Vec<u8>>, fn(&Keyring, &[u8]) -> Result<Vec<u8>, Unreadable>);

const SHORT: [Short; 2] =
    [(Keyring::seal_record, Keyring::open_record), (Keyring::seal_settings, Keyring::open_settings)];

/// Each byte changed, each length that is shorter, and one that is longer.
fn changed(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = (0..bytes.len()).map(|length| bytes[..length].to_vec()).collect();
    all.push([bytes, &[0]].concat());
    for place in 0..bytes.len() {
        for bits in [1, 0x80, 0xff] {
            let mut other = bytes.to_vec();
            other[place] ^= bits;
            all.push(other);
        }
    }
    all
}

#[test]
fn a_header_is_33_bytes_in_the_order_that_engines_read() {
    let version = Version { epoch: 0x0102_0304_0506_0708, asked_at: -2 };
    let header = Header { key_id: 0x1112_1314_1516_1718, version, as_of: 0x2122_2324_2526_2728 };
    let bytes = header.to_bytes();
    let mut expected = vec![1, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 1, 2, 3, 4, 5, 6, 7, 8];
    expected.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
    expected.extend([0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28]);
    assert_eq!(bytes[..], expected);
    assert_eq!(Header::read(&[&bytes[..], b"rest"].concat()), Ok((header, &b"rest"[..])));
    assert_eq!(Header::read(&bytes[..32]), Err(Unreadable::Tampered));
}

/// Invariant 3.
#[test]
fn a_value_is_opened_with_its_header_and_without_any_change_only() {
    let (keyring, name) = (keyring(), name("token"));
    let sealed = keyring.seal_value(&name, header(), PLAIN).unwrap();
    assert_eq!(sealed.len(), Header::BYTES + SEAL_BYTES + PLAIN.len());
    assert_eq!(keyring.open_value(&name, &sealed), Ok((header(), PLAIN.to_vec())));
    for bytes in changed(&sealed) {
        let opened = keyring.open_value(&name, &bytes).unwrap_err();
        let place = bytes.iter().zip(&sealed).position(|(one, other)| one != other);
        let expected = match place {
            Some(0) => Unreadable::OtherVersion,
            Some(1..=8) => Unreadable::UnknownKey,
            _ => Unreadable::Tampered,
        };
        assert_eq!(opened, expected, "at {place:?} of {} bytes", bytes.len());
    }
}

/// Invariant 3.
#[test]
fn a_value_under_another_name_is_not_opened() {
    let (keyring, name) = (keyring(), name("token"));
    let sealed = keyring.seal_value(&name, header(), PLAIN).unwrap();
    let others = changed(name.0.as_bytes()).into_iter().filter_map(|bytes| String::from_utf8(bytes).ok());
    let others: Vec<_> = others.chain([self::name("token2").0, String::new()]).map(Name).collect();
    assert!(others.len() > 80);
    for other in others {
        assert_eq!(keyring.open_value(&other, &sealed), Err(Unreadable::Tampered), "{other:?}");
    }
}

/// Invariant 3.
#[test]
fn a_record_and_settings_are_opened_as_what_they_are_and_without_any_change_only() {
    let keyring = keyring();
    for (seal, open) in SHORT {
        let sealed = seal(&keyring, PLAIN).unwrap();
        assert_eq!(open(&keyring, &sealed), Ok(PLAIN.to_vec()));
        for bytes in changed(&sealed) {
            assert!(open(&keyring, &bytes).is_err(), "{bytes:?}");
        }
    }
    let [(seal_record, open_record), (seal_settings, open_settings)] = SHORT;
    assert_eq!(open_settings(&keyring, &seal_record(&keyring, PLAIN).unwrap()), Err(Unreadable::Tampered));
    assert_eq!(open_record(&keyring, &seal_settings(&keyring, PLAIN).unwrap()), Err(Unreadable::Tampered));
    let value = keyring.seal_value(&name("token"), header(), PLAIN).unwrap();
    assert_eq!(open_record(&keyring, &value), Err(Unreadable::Tampered));
}

/// Invariant 3: not by the keys alone, which differ as well.
#[test]
fn a_seal_covers_what_it_is_of() {
    let keys = keyring();
    let sealed = seal(&keys.first.values, b"", &bound("record", b"n", b"h"), PLAIN).unwrap();
    let open = |bound: &[u8]| open(&keys.first.values, bound, &sealed);
    assert_eq!(open(&bound("record", b"n", b"h")), Ok(PLAIN.to_vec()));
    for other in [bound("settings", b"n", b"h"), bound("record", b"nh", b""), bound("recordn", b"", b"h"), vec![]] {
        assert_eq!(open(&other), Err(Unreadable::Tampered));
    }
}

/// Invariant 3.
#[test]
fn what_is_sealed_twice_has_two_nonces_and_shows_nothing() {
    let (keyring, name) = (keyring(), name("token"));
    let seals: Vec<_> = (0..100).map(|_| keyring.seal_value(&name, header(), PLAIN).unwrap()).collect();
    let nonces: std::collections::HashSet<_> = seals.iter().map(|sealed| &sealed[33..45]).collect();
    assert_eq!(nonces.len(), seals.len());
    for sealed in seals {
        assert!(!sealed.windows(5).any(|window| PLAIN.windows(5).any(|plain| plain == window)));
    }
}

/// Invariant 3.
#[test]
fn what_is_too_large_is_neither_sealed_nor_opened() {
    let (keyring, name) = (keyring(), name("token"));
    let most = vec![b'x'; MAX_VALUE_BYTES - Header::BYTES - SEAL_BYTES];
    let sealed = keyring.seal_value(&name, header(), &most).unwrap();
    assert_eq!(sealed.len(), MAX_VALUE_BYTES);
    assert_eq!(keyring.open_value(&name, &sealed), Ok((header(), most.clone())));
    assert_eq!(keyring.seal_value(&name, header(), &[&most[..], b"x"].concat()), None);
    assert_eq!(keyring.open_value(&name, &[&sealed[..], b"x"].concat()), Err(Unreadable::TooLarge));
    for (seal, open) in SHORT {
        let sealed = seal(&keyring, &[b'x'; MAX_RECORD_BYTES]).unwrap();
        assert_eq!(open(&keyring, &sealed), Ok(vec![b'x'; MAX_RECORD_BYTES]));
        assert_eq!(seal(&keyring, &[b'x'; MAX_RECORD_BYTES + 1]), None);
        assert_eq!(open(&keyring, &[&sealed[..], b"x"].concat()), Err(Unreadable::TooLarge));
    }
}

/// Invariant 4, the steps of a change of the secret: whoever is at one step reads what the neighbouring ones write.
#[test]
fn both_secrets_read_and_the_first_writes() {
    let ring =
        |first: u8, second: Option<u8>| Keyring::new("shop", &secret(first), second.map(secret).as_ref()).unwrap();
    let steps = [ring(0, None), ring(0, Some(1)), ring(1, Some(0)), ring(1, None)];
    let name = name("token");
    for (one, writer) in steps.iter().enumerate() {
        // Whatever the header says of the key.
        let value = writer.seal_value(&name, header(), PLAIN).unwrap();
        let shorts = SHORT.map(|(seal, _)| seal(writer, PLAIN).unwrap());
        for (other, reader) in steps.iter().enumerate() {
            let knows = reader.ids().any(|id| id == writer.first.id);
            assert!(knows || one.abs_diff(other) > 1, "{one} {other}");
            let expected = if knows { Ok(PLAIN.to_vec()) } else { Err(Unreadable::UnknownKey) };
            let opened = reader.open_value(&name, &value);
            assert_eq!(opened.map(|(_, plain)| plain), expected, "{one} {other}");
            for ((_, open), short) in SHORT.iter().zip(&shorts) {
                assert_eq!(open(reader, short), expected, "{one} {other}");
            }
        }
        assert_eq!(Header::read(&value).unwrap().0.key_id, writer.first.id);
    }
}

/// What one fleet wrote is nothing to another with the same secret.
#[test]
fn another_fleet_opens_nothing() {
    let (name, other) = (name("token"), Keyring::new("bank", &secret(0), None).unwrap());
    let sealed = keyring().seal_value(&name, header(), PLAIN).unwrap();
    assert_eq!(other.open_value(&name, &sealed), Err(Unreadable::UnknownKey));
}

proptest! {
    /// Invariant 3.
    #[test]
    fn whatever_is_sealed_is_opened_as_it_was(
        numbers in any::<(u64, i64, u64)>(), plain in prop::collection::vec(any::<u8>(), 0..300), token in ".{0,40}"
    ) {
        let (epoch, asked_at, as_of) = numbers;
        let header = Header { version: Version { epoch, asked_at }, as_of, ..header() };
        let (keyring, name) = (keyring(), name(&token));
        let sealed = keyring.seal_value(&name, header, &plain).unwrap();
        prop_assert_eq!(keyring.open_value(&name, &sealed), Ok((header, plain.clone())));
        for (seal, open) in SHORT {
            prop_assert_eq!(open(&keyring, &seal(&keyring, &plain).unwrap()), Ok(plain.clone()));
        }
    }

    /// Invariant 3.
    #[test]
    fn no_bytes_from_elsewhere_are_opened(bytes in prop::collection::vec(any::<u8>(), 0..200), id in any::<bool>()) {
        let (keyring, mut bytes) = (keyring(), bytes);
        if id {
            bytes.splice(..0, short_header(keyring.first.id));
        }
        prop_assert!(keyring.open_value(&name("token"), &bytes).is_err());
        prop_assert!(keyring.open_record(&bytes).is_err() && keyring.open_settings(&bytes).is_err());
    }
}
