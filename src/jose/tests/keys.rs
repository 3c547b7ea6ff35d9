//! Which keys are taken, and which of them are asked.

use super::*;

fn with(key: &Value, member: &str, value: impl Into<Value>) -> Value {
    let mut key = key.clone();
    key[member] = value.into();
    key
}

fn without(key: &Value, member: &str) -> Value {
    let mut key = key.clone();
    key.as_object_mut().unwrap().remove(member).unwrap();
    key
}

fn fault(key: &Value) -> Fault {
    KeySet::parse(key.to_string().as_bytes()).expect_err(&key.to_string())
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn header(algorithm: Algorithm, kid: Option<&str>) -> Header {
    Header { algorithm, typ: None, kid: kid.map(str::to_owned) }
}

/// The text of a number with a zero before it.
fn longer(number: &Value) -> String {
    encoded(&[&[0][..], &decoded(number.as_str().unwrap()).unwrap()].concat())
}

#[test]
fn a_key_verifies_what_its_type_its_curve_and_its_own_algorithm_fit() {
    let fitting = |key: &Value| {
        let keys = set(std::slice::from_ref(key));
        ALL.map(|algorithm| keys.candidates(&header(algorithm, None)).count() == 1)
    };
    let only = |algorithm: Algorithm| ALL.map(|other| other == algorithm);
    for issuer in &*ISSUERS {
        let of_type = match issuer.algorithm {
            Ps256 | Rs256 => ALL.map(|other| matches!(other, Ps256 | Rs256)),
            algorithm => only(algorithm),
        };
        assert_eq!(fitting(&issuer.key), of_type);
        assert_eq!(fitting(&with(&issuer.key, "alg", issuer.algorithm.as_str())), only(issuer.algorithm));
        for other in ["none", "HS256", "RS384", "RSA-OAEP", "es256", ""] {
            assert_eq!(fault(&with(&issuer.key, "alg", other)), Fault::KeyAlgorithm);
        }
        assert_eq!(fault(&with(&issuer.key, "alg", 1)), Fault::KeyAlgorithm);
    }
    assert_eq!(fault(&with(&issuer(Es256).key, "alg", "ES384")), Fault::KeyAlgorithm);
    assert_eq!(fault(&with(&issuer(Es256).key, "alg", "RS256")), Fault::KeyAlgorithm);
    assert_eq!(fault(&with(&issuer(Rs256).key, "alg", "ES256")), Fault::KeyAlgorithm);
}

#[test]
fn a_signature_is_judged_by_no_key_that_does_not_fit_its_algorithm() {
    for one in &*ISSUERS {
        let text = one.signed();
        let jws = Jws::parse(&text, LONGEST, &ALL).unwrap();
        for other in &*ISSUERS {
            let keys = other.keys();
            let key = keys.candidates(&header(other.algorithm, None)).next().unwrap();
            // PS256 and RS256 have one key here.
            let fits = one.key == other.key;
            assert_eq!(key.fits(one.algorithm), fits);
            assert_eq!(jws.verify(key), if fits { Ok(()) } else { Err(Fault::KeyDoesNotFit) });
            assert_eq!(judged(&text, &keys), if fits { Ok(()) } else { Err(Fault::NoSuchKey) });
        }
    }
    // What PS256 signed is nothing that RS256 has signed.
    for (signs, states) in [(Ps256, Rs256), (Rs256, Ps256)] {
        let text = issuer(signs).sign(&format!(r#"{{"alg":"{states}"}}"#), "{}");
        assert_eq!(judged(&text, &issuer(signs).keys()), Err(Fault::Signature));
    }
}

#[test]
fn a_public_key_is_no_shared_one() {
    use aws_lc_rs::hmac;
    let key = &issuer(Rs256).key;
    let message = format!("{}.e30", encoded(br#"{"alg":"HS256"}"#));
    for secret in [key.to_string(), MODULUS.to_owned()] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
        let text = format!("{message}.{}", encoded(tag.as_ref()));
        assert_eq!(judged(&text, &issuer(Rs256).keys()), Err(Fault::Algorithm));
    }
}

#[test]
fn a_key_is_for_verifying_or_says_nothing_of_it() {
    let key = &issuer(Es256).key;
    for good in [
        with(key, "use", "sig"),
        with(key, "key_ops", json!(["sign", "verify"])),
        with(&with(key, "use", "sig"), "key_ops", json!(["verify"])),
        json!({"kty": "EC", "crv": "P-256", "x": key["x"], "y": key["y"], "use": null, "key_ops": null, "alg": null, "kid": null}),
    ] {
        assert_eq!(judged(&issuer(Es256).signed(), &set(&[good])), Ok(()));
    }
    for bad in [
        with(key, "use", "enc"),
        with(key, "use", "SIG"),
        with(key, "use", ""),
        with(key, "use", 1),
        with(key, "key_ops", json!(["sign"])),
        with(key, "key_ops", json!([])),
        with(key, "key_ops", "verify"),
        with(&with(key, "use", "sig"), "key_ops", json!(["encrypt"])),
        with(&with(key, "use", "enc"), "key_ops", json!(["verify"])),
    ] {
        assert_eq!(fault(&bad), Fault::KeyUse);
    }
    assert_eq!(fault(&with(key, "kid", 1)), Fault::KeyName);
}

#[test]
fn a_private_key_is_left_out_and_a_static_set_with_one_is_refused() {
    for issuer in &*ISSUERS {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            for value in [json!("AA"), json!(null)] {
                let private = with(&issuer.key, member, value);
                assert_eq!(fault(&private), Fault::PrivateKey);
                let text = json!({"keys": [private, issuer.key]}).to_string();
                assert_eq!(KeySet::parse(text.as_bytes()).unwrap().len(), 1);
                let error = KeySet::from_json(text).unwrap_err();
                assert_eq!(error.to_string(), "`json`: the key is a private one: whoever holds it can sign");
            }
        }
    }
    // A secret that others share is no key here, whatever else is in the set.
    let shared = json!({"keys": [{"kty": "oct", "k": "AA"}, issuer(EdDsa).key]});
    assert_eq!(KeySet::from_json(shared.to_string()).unwrap().len(), 1);
}

#[test]
fn a_number_has_the_length_of_its_kind_and_one_form() {
    for (algorithm, members) in [(Es256, &["x", "y"][..]), (Es384, &["x", "y"]), (EdDsa, &["x"]), (Rs256, &["n", "e"])]
    {
        let key = &issuer(algorithm).key;
        for member in members {
            let text = key[*member].as_str().unwrap();
            for bad in [
                json!(""),
                json!(1),
                json!(null),
                json!([text]),
                json!(longer(&key[*member])),
                json!(format!("{text}=")),
                json!(format!("{text} ")),
                json!(format!("\n{text}")),
                json!(format!("+{}", &text[1..])),
                json!(format!("{text}é")),
            ] {
                assert_eq!(fault(&with(key, member, bad.clone())), Fault::KeyValue, "{member} {bad}");
            }
            assert_eq!(fault(&without(key, member)), Fault::KeyValue);
        }
    }
    for (algorithm, member) in [(Es256, "x"), (Es384, "y"), (EdDsa, "x")] {
        let key = &issuer(algorithm).key;
        let number = decoded(key[member].as_str().unwrap()).unwrap();
        for bad in [&number[1..], &number[..number.len() - 1], &[&number[..], &[0]].concat()] {
            assert_eq!(fault(&with(key, member, encoded(bad))), Fault::KeyValue);
        }
    }
}

#[test]
fn a_point_lies_on_its_curve() {
    for algorithm in [Es256, Es384] {
        let key = &issuer(algorithm).key;
        let mut y = decoded(key["y"].as_str().unwrap()).unwrap();
        let zero = encoded(&vec![0; y.len()]);
        let most = encoded(&vec![0xff; y.len()]);
        y[7] ^= 1;
        for bad in [
            with(key, "y", encoded(&y)),
            with(&with(key, "x", zero.clone()), "y", zero.clone()),
            with(key, "x", most.clone()),
            with(key, "y", most),
            with(&with(key, "x", key["y"].clone()), "y", key["x"].clone()),
        ] {
            assert_eq!(fault(&bad), Fault::Point);
        }
    }
    let of_another = with(&issuer(Es256).key, "crv", "P-384");
    assert_eq!(fault(&of_another), Fault::KeyValue);
}

#[test]
fn an_rsa_key_has_2048_to_8192_bits_and_an_odd_exponent_from_65537() {
    let rsa = |n: &[u8], e: &[u8]| {
        let key = json!({"kty": "RSA", "n": encoded(n), "e": encoded(e)});
        KeySet::parse(key.to_string().as_bytes()).map(drop)
    };
    let number = |bits: usize| {
        let mut number = vec![0xff; bits.div_ceil(8)];
        number[0] >>= number.len() * 8 - bits;
        number
    };
    let f4 = [1, 0, 1];
    for (bits, expected) in [
        (1, Err(Fault::KeySize)),
        (1_024, Err(Fault::KeySize)),
        (2_047, Err(Fault::KeySize)),
        (2_048, Ok(())),
        (2_049, Ok(())),
        (8_192, Ok(())),
        (8_193, Err(Fault::KeySize)),
        (65_536, Err(Fault::KeySize)),
    ] {
        assert_eq!(rsa(&number(bits), &f4), expected, "{bits}");
    }
    let modulus = decoded(MODULUS).unwrap();
    for (e, expected) in [
        (&[1][..], Err(Fault::Exponent)),
        (&[3], Err(Fault::Exponent)),
        (&[0xff, 0xff], Err(Fault::Exponent)),
        (&[1, 0, 0], Err(Fault::Exponent)),
        (&[1, 0, 1], Ok(())),
        (&[0xff, 0xff, 0xff, 0xff], Ok(())),
        (&[0xff, 0xff, 0xff, 0xff, 0xff], Err(Fault::Point)),
        (&[0, 1, 0, 1], Err(Fault::KeyValue)),
    ] {
        assert_eq!(rsa(&modulus, e), expected, "{e:?}");
    }
    assert_eq!(rsa(&[&modulus[..255], &[2]].concat(), &f4), Err(Fault::Point), "an even modulus");
}

#[test]
fn a_type_or_a_curve_that_is_not_used_here_is_left_out() {
    let key = &issuer(Es256).key;
    for bad in [
        with(key, "kty", "RS"),
        with(key, "kty", "ec"),
        with(key, "kty", 1),
        with(key, "kty", "OKP"),
        with(key, "crv", "P-521"),
        with(key, "crv", "secp256k1"),
        with(key, "crv", "Ed25519"),
        without(key, "crv"),
        with(&issuer(EdDsa).key, "crv", "X25519"),
        with(&issuer(EdDsa).key, "crv", "Ed448"),
        with(&issuer(EdDsa).key, "kty", "EC"),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
    ] {
        assert_eq!(fault(&bad), Fault::KeyType);
        assert_eq!(set(&[bad, key.clone()]).len(), 1);
    }
}

#[test]
fn a_key_set_is_read_whole_and_strictly() {
    let key = issuer(Es256).key.to_string();
    let refused = |text: &str| KeySet::parse(text.as_bytes()).expect_err(text);
    for bad in [
        String::new(),
        "[]".to_owned(),
        "null".to_owned(),
        format!("[{key}]"),
        format!("{{\"keys\":[{key}]"),
        format!("{{\"keys\":[{key}]}}x"),
        format!("{{\"keys\":[],\"keys\":[{key}]}}"),
        format!("{{\"keys\":[{}]}}", key.replacen('{', "{\"kid\":\"a\",\"kid\":\"b\",", 1)),
        format!("{{\"keys\":[{}]}}", key.replacen('{', "{\"kty\":\"EC\",\"\\u006bty\":\"RSA\",", 1)),
        key.replacen('{', "{\"x5c\":[{\"a\":1,\"a\":1}],", 1),
    ] {
        assert_eq!(refused(&bad), Fault::KeySetNotRead, "{bad}");
    }
    let is_empty = |text: &str| KeySet::published(text.as_bytes()).unwrap().is_empty();
    assert!(is_empty(r#"{"keys":[]}"#) && is_empty(r#"{"keys":[{"kty":"oct"}]}"#) && !is_empty(&key));
    assert_eq!(KeySet::parse(b"{\"keys\":\"\xff\"}").unwrap_err(), Fault::KeySetNotRead);
    for bad in ["{}", r#"{"keys":null}"#, r#"{"keys":{}}"#, r#"{"key":[]}"#, r#"{"keys":{"kty":"EC"},"kty":"EC"}"#] {
        assert_eq!(refused(bad), Fault::NotAKeySet, "{bad}");
    }
    assert_eq!(refused(r#"{"keys":[]}"#), Fault::NoKeys);
    assert_eq!(refused(r#"{"keys":[null, 1]}"#), Fault::KeyNotAnObject);
    assert_eq!(set(&[json!([]), issuer(Es256).key.clone()]).len(), 1);
    let many = |count| json!({"keys": vec![issuer(Es256).key.clone(); count]}).to_string();
    assert_eq!(KeySet::parse(many(64).as_bytes()).unwrap().len(), 64);
    assert_eq!(refused(&many(65)), Fault::TooManyKeys);
    assert_eq!(KeySet::from_json(many(65)).unwrap_err().to_string(), "`json`: it holds more than 64 keys");
    // Whoever publishes it may begin and end it as they like.
    assert!(KeySet::parse(format!("\u{feff}\r\n {{ \"keys\" : [ {key} ] }} \n").as_bytes()).is_ok());
}

#[test]
fn the_keys_that_are_asked_have_the_name_and_are_four_at_most() {
    let (ec, rsa) = (&issuer(Es256).key, &issuer(Rs256).key);
    let keys =
        set(&[with(ec, "kid", "a"), with(rsa, "kid", "a"), with(ec, "kid", "b"), ec.clone(), with(ec, "kid", "")]);
    let names = |algorithm, kid| {
        let header = header(algorithm, kid);
        keys.candidates(&header).map(|key| key.kid().unwrap_or("-").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(Es256, Some("a")), ["a"]);
    assert_eq!(names(Rs256, Some("a")), ["a"]);
    assert_eq!(names(Es256, Some("")), [""]);
    assert_eq!(names(Es256, None), ["a", "b", "-", ""]);
    for (algorithm, kid) in [(Es256, Some("c")), (Es256, Some("A")), (Rs256, Some("b")), (EdDsa, None)] {
        assert!(names(algorithm, kid).is_empty());
    }
    let text = issuer(Es256).sign(r#"{"alg":"ES256","kid":"c"}"#, "{}");
    assert_eq!(judged(&text, &keys), Err(Fault::NoSuchKey));

    let other = &Issuer::of(Es256).key;
    let last = |before: usize| set(&[vec![other.clone(); before], vec![ec.clone()]].concat());
    let text = issuer(Es256).signed();
    assert_eq!(judged(&text, &last(3)), Ok(()));
    assert_eq!(judged(&text, &last(4)), Err(Fault::Signature));
}

#[test]
fn nothing_that_was_read_is_in_a_fault() {
    let error = KeySet::from_json(r#"{"keys":[{"kty":"s3cr3t"}]}"#).unwrap_err();
    assert_eq!(error.to_string(), "`json`: the key is neither RSA, P-256, P-384 nor Ed25519");
    assert_eq!(Fault::Point.to_string(), Fault::Point.as_str());
    let keys = issuer(EdDsa).keys();
    assert!(format!("{keys:?}").starts_with("KeySet { keys: [Key { kid: None, algorithms: [EdDsa], thumbprint: "));
}
