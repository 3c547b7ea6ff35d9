//! What is refused of something signed, by whoever holds the right key.

use super::*;

const CLAIMS: &str = r#"{"iss":"a"}"#;

fn fault(text: &str) -> Fault {
    Jws::parse(text, LONGEST, &ALL).expect_err(text)
}

#[test]
fn a_header_is_read_and_what_else_it_holds_is_passed_over() {
    for issuer in &*ISSUERS {
        let header = format!(
            r#"{{"typ":"at+jwt", "kid":"k\u0031","alg":"{}","jku":"https://evil.example","x5u":"x","x5t":"x","cty":"JWT",
                "jwk":{{"kty":"oct","k":"AA"}},"x5c":["AA"],"other":{{"deep":[[{{"a":1}}]]}} }} "#,
            issuer.algorithm
        );
        let text = issuer.sign(&header, "{\"iss\": \"a\"}\n");
        let jws = Jws::parse(&text, text.len(), &[issuer.algorithm]).unwrap();
        let read = Header { algorithm: issuer.algorithm, typ: Some("at+jwt".to_owned()), kid: Some("k1".to_owned()) };
        assert_eq!((jws.header(), jws.payload()), (&read, &b"{\"iss\": \"a\"}\n"[..]));
        let mut key = issuer.key.clone();
        key["kid"] = "k1".into();
        assert_eq!(judged(&text, &KeySet::from_json(key.to_string()).unwrap()), Ok(()));
        assert_eq!(format!("{jws:?}"), format!("Jws {{ algorithm: {:?}, .. }}", issuer.algorithm));

        let others: Vec<_> = ALL.into_iter().filter(|other| *other != issuer.algorithm).collect();
        assert_eq!(Jws::parse(&text, LONGEST, &others).unwrap_err(), Fault::Algorithm);
        assert_eq!(Jws::parse(&text, text.len() - 1, &ALL).unwrap_err(), Fault::TooLong);
    }
}

#[test]
fn a_type_is_told_in_any_case_and_with_or_without_its_prefix() {
    let is = |typ: &str| {
        let header = Header { algorithm: Es256, typ: Some(typ.to_owned()), kid: None };
        header.is_of_type("at+jwt")
    };
    for same in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        assert!(is(same), "{same}");
    }
    for other in ["", "JWT", "at+jwt ", " at+jwt", "application/", "application/application/at+jwt", "text/at+jwt", "é"]
    {
        assert!(!is(other), "{other}");
    }
    assert!(!is("applicatioé/at+jwt"), "a cut through a character");
    assert!(!Header { algorithm: Es256, typ: None, kid: None }.is_of_type("at+jwt"));
}

#[test]
fn only_the_three_parts_of_the_compact_form_are_read() {
    let text = issuer(Es256).signed();
    for bad in ["", ".", "a", "{\"payload\":\"e30\"}", text.rsplit_once('.').unwrap().0] {
        assert_eq!(fault(bad), Fault::NotThreeParts, "{bad}");
    }
    assert_eq!(fault(&format!("{text}.")), Fault::NotThreeParts);
    assert_eq!(fault(&format!("{text}..")), Fault::Encrypted);
    assert_eq!(fault(&format!("{text}...")), Fault::NotThreeParts);
    assert_eq!(fault(".."), Fault::Header);
    assert_eq!(fault(&"a".repeat(LONGEST + 1)), Fault::TooLong);
    assert_eq!(fault(&".".repeat(LONGEST)), Fault::NotThreeParts);
    let unsigned = text.rsplit_once('.').unwrap().0.to_owned() + ".";
    assert_eq!(judged(&unsigned, &issuer(Es256).keys()), Err(Fault::Signature));
}

#[test]
fn base64url_is_read_in_one_form_only() {
    let issuer = issuer(EdDsa);
    let (header, payload) = (encoded(br#"{"alg":"EdDSA"}"#), encoded(br#"{"a":"x"}"#));
    let (header_2, payload_2) = (encoded(br#"{"alg":"EdDSA" }"#), encoded(br#"{"a":"xy"}"#));
    assert_eq!(judged(&issuer.sign_parts(&header, &payload), &issuer.keys()), Ok(()));
    let signature = |text: &str| text.rsplit_once('.').unwrap().1.to_owned();
    assert_eq!((header_2.len() % 4, payload_2.len() % 4, signature(&issuer.signed()).len() % 4), (2, 2, 2));
    let spoilt = |text: &str| {
        let (start, end) = text.split_at(text.len() - 1);
        // The last of two characters holds four bits that are behind the last byte.
        let unused = char::from(end.as_bytes()[0] + 1);
        [
            format!("{text}=="),
            format!("{text}="),
            format!("{text} "),
            format!(" {text}"),
            format!("{text}\n"),
            format!("{start}\r\n{end}"),
            format!("{start}{unused}"),
            format!("{start}+"),
            format!("{start}/"),
            format!("{start}é"),
            format!("{start}\0"),
            format!("{text}AAA"),
            start.to_owned(),
        ]
    };
    for bad in spoilt(&header_2) {
        assert_eq!(fault(&issuer.sign_parts(&bad, &payload)), Fault::Base64, "{bad}");
    }
    for bad in spoilt(&payload_2) {
        assert_eq!(fault(&issuer.sign_parts(&header, &bad)), Fault::Base64, "{bad}");
    }
    let text = issuer.sign_parts(&header, &payload);
    for bad in spoilt(&signature(&text)) {
        assert_eq!(fault(&format!("{header}.{payload}.{bad}")), Fault::Base64, "{bad}");
    }
}

#[test]
fn a_header_is_an_object_with_each_member_once() {
    let issuer = issuer(Es256);
    for bad in [
        "",
        "[]",
        "null",
        "\"a\"",
        r#"{"alg":"ES256""#,
        r#"{"alg":"ES256"}}"#,
        r#"{"alg":"ES256"}{}"#,
        r#" {"alg":"ES256"}"#,
        "\n{\"alg\":\"ES256\"}",
        "\u{feff}{\"alg\":\"ES256\"}",
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","\u0061lg":"none"}"#,
        r#"{"alg":"ES256","kid":"a","kid":"b"}"#,
        r#"{"alg":"ES256","jwk":{"kty":"EC","kty":"RSA"}}"#,
        r#"{"alg":"ES256","a":[{"b":1,"b":2}]}"#,
        r#"{"alg":"ES256","kid":1}"#,
        r#"{"alg":"ES256","kid":null}"#,
        r#"{"alg":"ES256","kid":"\ud800"}"#,
        r#"{"alg":"ES256","typ":["JWT"]}"#,
        r#"{"alg":"ES256","typ":"\udc00"}"#,
        r#"{"alg":["ES256"]}"#,
        r#"{"alg":null}"#,
    ] {
        assert_eq!(fault(&issuer.sign(bad, CLAIMS)), Fault::Header, "{bad}");
    }
    assert_eq!(fault(&issuer.sign_parts(&encoded(b"{\"alg\":\"ES256\",\"a\":\"\xff\"}"), "e30")), Fault::Header);
    let deep = format!(r#"{{"alg":"ES256","a":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    assert_eq!(fault(&issuer.sign(&deep, CLAIMS)), Fault::Header);
}

#[test]
fn an_algorithm_is_one_of_five_to_the_letter() {
    for name in [
        "",
        "none",
        "None",
        "NONE",
        "nOnE",
        "HS256",
        "HS384",
        "HS512",
        "ES512",
        "ES256K",
        "RS384",
        "RS512",
        "PS384",
        "PS512",
        "es256",
        "ES256 ",
        " ES256",
        "ES256\\u0000",
        "EDDSA",
        "eddsa",
        "ed25519",
        "Ed448",
        "RS1",
        "RSA-OAEP",
    ] {
        for issuer in &*ISSUERS {
            assert_eq!(fault(&issuer.sign(&format!(r#"{{"alg":"{name}"}}"#), CLAIMS)), Fault::Algorithm, "{name}");
        }
    }
    assert_eq!(fault(&issuer(Es256).sign(r#"{"typ":"JWT"}"#, CLAIMS)), Fault::Algorithm);
}

#[test]
fn no_extension_is_understood() {
    let issuer = issuer(Rs256);
    for (members, expected) in [
        (r#""crit":["exp"],"exp":1"#, Fault::Critical),
        (r#""crit":["b64"],"b64":false"#, Fault::Critical),
        (r#""crit":[]"#, Fault::Critical),
        (r#""crit":null"#, Fault::Critical),
        (r#""cr\u0069t":["exp"]"#, Fault::Critical),
        (r#""b64":false"#, Fault::Unencoded),
        (r#""b64":true"#, Fault::Unencoded),
    ] {
        let text = issuer.sign(&format!(r#"{{"alg":"RS256",{members}}}"#), CLAIMS);
        assert_eq!(fault(&text), expected, "{members}");
    }
}

#[test]
fn what_is_signed_begins_as_an_object() {
    let issuer = issuer(EdDsa);
    for bad in ["", "[]", "null", " {}", "\n{}", "\u{feff}{}", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(fault(&issuer.sign(r#"{"alg":"EdDSA"}"#, bad)), Fault::Payload, "{bad}");
    }
}
