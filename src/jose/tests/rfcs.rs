//! The examples of RFC 7515, RFC 7638 and RFC 8037.

use super::*;

/// RFC 7515 appendix A.1.1: what all of its examples sign.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

#[test]
fn rs256_of_rfc_7515_a_2_is_verified() {
    let signature = concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t",
        "1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j",
        "zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ",
        "Ge77Rw"
    );
    let text = format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.{signature}");
    assert_eq!(judged(&text, &issuer(Rs256).keys()), Ok(()));
    let jws = Jws::parse(&text, LONGEST, &[Rs256]).unwrap();
    assert_eq!(*jws.header(), Header { algorithm: Rs256, typ: None, kid: None });
    let claims = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    assert_eq!(jws.payload(), claims.as_bytes());
}

#[test]
fn es256_of_rfc_7515_a_3_is_verified() {
    let keys = KeySet::from_json(
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    );
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert_eq!(judged(&format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.{signature}"), &keys.unwrap()), Ok(()));
}

#[test]
fn what_has_a_shared_key_or_none_is_refused_as_in_rfc_7515_a_1_and_a_5() {
    let hs256 =
        format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let none = format!("eyJhbGciOiJub25lIn0.{CLAIMS}.");
    for text in [hs256, none] {
        assert_eq!(Jws::parse(&text, LONGEST, &ALL).unwrap_err(), Fault::Algorithm);
    }
    let shared =
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    assert_eq!(KeySet::parse(shared.as_bytes()).unwrap_err(), Fault::KeyType);
}

#[test]
fn ed25519_of_rfc_8037_a_is_verified_under_both_names() {
    let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let keys = KeySet::from_json(key).unwrap();
    // Appendix A.4 signs a text that is no JSON object.
    let text = concat!(
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    assert_eq!(Jws::parse(text, LONGEST, &ALL).unwrap_err(), Fault::Payload);
    assert!(keys.verify(&Jws::of_any_payload(text, LONGEST, &ALL).unwrap().0).is_ok());
    // Appendix A.3.
    let jws = issuer(EdDsa).signed();
    let jws = Jws::parse(&jws, LONGEST, &ALL).unwrap();
    assert_eq!(
        keys.candidates(jws.header()).next().unwrap().thumbprint(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );

    let issuer = issuer(EdDsa);
    for name in ["EdDSA", "Ed25519"] {
        let text = issuer.sign(&format!(r#"{{"alg":"{name}"}}"#), "{}");
        assert_eq!(judged(&text, &issuer.keys()), Ok(()), "{name}");
        let mut key = issuer.key.clone();
        key["alg"] = name.into();
        assert_eq!(judged(&text, &KeySet::from_json(key.to_string()).unwrap()), Ok(()), "{name}");
    }
}

#[test]
fn a_thumbprint_is_the_one_of_rfc_7638() {
    // Section 3.1.
    let key = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    let keys = KeySet::from_json(key).unwrap();
    assert_eq!(keys.thumbprints(), ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"]);
    let header = Header { algorithm: Rs256, typ: None, kid: Some("2011-04-29".to_owned()) };
    let key = keys.candidates(&header).next().unwrap();
    assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let shown = r#"Key { kid: Some("2011-04-29"), algorithms: [Rs256], thumbprint: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" }"#;
    assert_eq!(format!("{key:?}"), shown);
}
