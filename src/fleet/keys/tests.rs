use std::collections::HashSet;

use super::*;

fn secret(first_byte: u8) -> FleetSecret {
    FleetSecret::from_bytes((0..32).map(|n| n + first_byte).collect::<Vec<u8>>()).unwrap()
}

fn keyring() -> Keyring {
    Keyring::new("shop", &secret(0), None).unwrap()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn identity(authority: &[&str], client: &[&str], cache: &str) -> Identity {
    Identity { authority: texts(authority), client: texts(client), cache: cache.to_owned(), reading: String::new() }
}

fn main_cache() -> Identity {
    identity(&["rfc7662", "https://auth.example.com"], &["api"], "main")
}

fn reading(settings: &str) -> Identity {
    Identity { reading: settings.to_owned(), ..main_cache() }
}

const TOKEN: &[u8] = b"2YotnFZFEjr1zCsicMWpAA";

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn hkdf_is_that_of_rfc_5869_and_hmac_that_of_rfc_4231() {
    // RFC 5869, A.1.
    let salt = Salt::new(HKDF_SHA256, &bytes_of("000102030405060708090a0b0c"));
    let mut key = [0; 42];
    let info = bytes_of("f0f1f2f3f4f5f6f7f8f9");
    salt.extract(&[0x0b; 22]).expand(&[&info], Bytes(42)).unwrap().fill(&mut key).unwrap();
    let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(key[..], bytes_of(expected));
    // RFC 4231, 4.3.
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"Jefe"), b"what do ya want for nothing?");
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(tag.as_ref(), bytes_of(expected));
}

/// Invariant 2. The values were computed by other programs from what the module's documentation says: to change them
/// is to change the version of the format.
#[test]
fn ids_names_and_keys_of_fingerprints_stay_what_they_are_from_one_release_to_the_next() {
    let keyring = keyring();
    assert_eq!(keyring.ids().collect::<Vec<_>>(), [0x5f28_af06_e9f3_bb13]);
    let name = keyring.name(Which::First, &main_cache(), TOKEN);
    assert_eq!(name.0, "yKR5g84GckOZ0rl70py5jwItg9JLPIjh8Eo-tkkN98M");
    let strict = reading("require_token_type 4 true\n");
    let name = keyring.name(Which::First, &strict, TOKEN);
    assert_eq!(name.0, "I9PKGiDL9AX33dOfqE_jbhcQHH9BpuuozypD2nFynxY");
    assert_eq!(keyring.reading_mark(Which::First, &strict), "TFxCUIiV1QdxU0JuzD9j29TQUuYRmey3xB09y-pxcAw");
    let rate = keyring.rate_name(&main_cache().authority, &main_cache().client);
    assert_eq!(rate.0, "ai4Dy85pdyoGuAdFzco-yih_sCgBDmwSrfUPj6Fnsp8");
    let keys = keyring.fingerprint_keys(0x5f28_af06_e9f3_bb13, &main_cache());
    assert_eq!(keys, Some((0xb644_8930_ff2e_e994, 0xc130_7768_33ec_f7b2)));
}

/// Invariant 2.
#[test]
fn no_two_lists_of_fields_come_to_one_name() {
    let lists = [
        (identity(&["ab"], &["c"], "d"), "e"),
        (identity(&["a"], &["bc"], "d"), "e"),
        (identity(&["a", "b"], &["c"], "d"), "e"),
        (identity(&["a"], &["b", "c"], "d"), "e"),
        (identity(&["ab", "c"], &[], "d"), "e"),
        (identity(&[], &["ab", "c"], "d"), "e"),
        (identity(&["ab"], &["c"], "de"), ""),
        (identity(&["ab"], &["c"], ""), "de"),
        (identity(&["ab", ""], &["c"], "d"), "e"),
        (identity(&["ab"], &["c"], "d"), "E"),
        (identity(&["ab"], &["c"], "D"), "e"),
        (identity(&["AB"], &["c"], "d"), "e"),
        (identity(&["ab"], &["C"], "d"), "e"),
    ];
    let keyring = keyring();
    let names: HashSet<_> =
        lists.iter().map(|(identity, token)| keyring.name(Which::First, identity, token.as_bytes())).collect();
    assert_eq!(names.len(), lists.len());
    let identities: HashSet<_> = lists.iter().map(|(identity, _)| format!("{identity:?}")).collect();
    let id = keyring.first.id;
    let keys: HashSet<_> = lists.iter().map(|(identity, _)| keyring.fingerprint_keys(id, identity).unwrap()).collect();
    assert_eq!(keys.len(), identities.len());
}

/// Invariants 2 and 5.
#[test]
fn what_is_read_in_another_way_has_another_name_and_an_invalidation_of_it_is_heard_all_the_same() {
    let keyring = keyring();
    let identities =
        [reading(""), reading("a"), reading("b"), reading("ab"), Identity { cache: "a".into(), ..reading("main") }];
    let names: HashSet<_> = identities.iter().map(|identity| keyring.name(Which::First, identity, b"b").0).collect();
    let marks: HashSet<_> = identities.iter().map(|identity| keyring.reading_mark(Which::First, identity)).collect();
    assert_eq!((names.len(), marks.len()), (identities.len(), identities.len()));
    assert!(names.is_disjoint(&marks));
    // A reading is not the beginning of a token.
    assert_ne!(keyring.name(Which::First, &reading("a"), b"b"), keyring.name(Which::First, &reading(""), b"ab"));
    let id = keyring.first.id;
    let keys: HashSet<_> = identities[..4].iter().map(|identity| keyring.fingerprint_keys(id, identity)).collect();
    assert_eq!(keys.len(), 1);
}

#[test]
fn a_rate_is_never_named_as_a_token_whatever_is_in_the_fields() {
    let keyring = keyring();
    let (authority, client) = (texts(&["a"]), texts(&["b"]));
    let rate = keyring.rate_name(&authority, &client);
    // The same fields, but for the label.
    let mut fields = Fields::of(&keyring.first.names, "token");
    fields.push_list(&authority);
    fields.push_list(&client);
    assert_ne!(fields.name(), rate);
    assert_ne!(keyring.rate_name(&texts(&["ab"]), &[]), keyring.rate_name(&texts(&["a"]), &texts(&["b"])));
}

/// Invariant 2: nothing is derived alike for two fleets, two secrets, or two uses.
#[test]
fn each_fleet_and_secret_and_use_has_a_key_of_its_own() {
    let salt = Salt::new(HKDF_SHA256, b"");
    let mut keys = HashSet::new();
    for (fleet, first_byte) in [("shop", 0), ("shop", 1), ("sho", 0), ("", 0)] {
        let derived = salt.extract(secret(first_byte).expose());
        for label in ["key id", "names", "fingerprints", "values", "records", "settings", "settingsp"] {
            keys.insert(*expand::<32>(&derived, fleet, label).unwrap());
        }
    }
    assert_eq!(keys.len(), 28);
    let name = |fleet, first_byte| {
        let keyring = Keyring::new(fleet, &secret(first_byte), None).unwrap();
        (keyring.first.id, keyring.name(Which::First, &main_cache(), TOKEN).0)
    };
    let (ids, names): (HashSet<_>, HashSet<_>) =
        [("shop", 0), ("shop", 1), ("bank", 0)].map(|(a, b)| name(a, b)).into_iter().unzip();
    assert_eq!((ids.len(), names.len()), (3, 3));
}

/// Invariant 4.
#[test]
fn with_two_secrets_the_names_of_both_are_known_and_the_first_comes_first() {
    let old = keyring();
    let both = Keyring::new("shop", &secret(1), Some(&secret(0))).unwrap();
    assert_eq!(both.which().collect::<Vec<_>>(), [Which::First, Which::Second]);
    assert_eq!(both.ids().collect::<Vec<_>>(), [both.first.id, old.first.id]);
    let name = |keyring: &Keyring, which| keyring.name(which, &main_cache(), TOKEN);
    assert_eq!(name(&both, Which::Second), name(&old, Which::First));
    assert_ne!(name(&both, Which::First), name(&old, Which::First));
    let id = old.first.id;
    assert_eq!(both.fingerprint_keys(id, &main_cache()), old.fingerprint_keys(id, &main_cache()));
    assert_eq!(old.fingerprint_keys(both.first.id, &main_cache()), None);
    // Without a second, it stands for the first.
    assert_eq!(old.which().collect::<Vec<_>>(), [Which::First]);
    assert_eq!(name(&old, Which::Second), name(&old, Which::First));
}

#[test]
fn one_secret_given_twice_is_refused() {
    let error = Keyring::new("shop", &secret(0), Some(&secret(0))).err().unwrap();
    assert_eq!(error.setting(), "second_secret");
    assert!(error.to_string().contains("the same as the first"), "{error}");
}
