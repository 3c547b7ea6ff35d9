//! Something signed, and the keys of an issuer.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::jose::{Algorithm, Fault, Header, Jws, KeySet};

const ALL: [Algorithm; 5] = [Algorithm::Es256, Algorithm::Es384, Algorithm::Ps256, Algorithm::Rs256, Algorithm::EdDsa];
const LONGEST: usize = 4_096;

/// The keys of RFC 7515 appendix A.2 and A.3 and of RFC 8037 appendix A.
const KEYS: &str = concat!(
    r#"{"keys":[{"kty":"RSA","e":"AQAB","n":"#,
    r#""ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-p"#,
    "CgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665",
    "xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    r#""},{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
    r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},"#,
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
);

/// What was signed with them: the examples there that are objects.
const SIGNED: [&str; 2] = [
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
];

/// Reads something signed, a key set, and, where there is an end of line, a key set and what it is to verify.
pub fn jose(bytes: &[u8]) {
    static KEYRING: LazyLock<KeySet> = LazyLock::new(|| KeySet::parse(KEYS.as_bytes()).expect("they are keys"));
    let read = std::str::from_utf8(bytes).ok().and_then(|text| check_signed(text, &KEYRING));
    let keys = check_keys(bytes);
    assert!(read.is_none() || keys.is_none(), "it is both");
    let is_known = SIGNED.iter().any(|signed| bytes.starts_with(signed.as_bytes()));
    assert!(read != Some(true) || is_known, "nobody has signed this");
    if let Some(at) = bytes.iter().position(|byte| *byte == b'\n')
        && let Ok(text) = std::str::from_utf8(&bytes[at + 1..])
        && let Some(keys) = check_keys(&bytes[..at])
    {
        check_signed(text, &keys);
    }
}

/// Whether a key verifies it, if it is read.
fn check_signed(text: &str, keys: &KeySet) -> Option<bool> {
    let jws = Jws::parse(text, LONGEST, &ALL).ok()?;
    let parts: Vec<_> = text.split('.').collect();
    let decoded = |part: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).expect("it was read");
        assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(&bytes), part, "two texts are one");
        bytes
    };
    let [header, payload, _] = &parts.iter().map(|part| decoded(part)).collect::<Vec<_>>()[..] else {
        panic!("it has not three parts");
    };
    assert!(payload == jws.payload() && payload.starts_with(b"{"));
    // Half a character in a member that nobody looks at is read here only.
    if let Ok(stated) = serde_json::from_slice::<Value>(header) {
        let read = jws.header();
        let name = read.algorithm.as_str();
        assert!(stated["alg"] == name || (name == "EdDSA" && stated["alg"] == "Ed25519"));
        assert_eq!((stated["kid"].as_str(), stated["typ"].as_str()), (read.kid.as_deref(), read.typ.as_deref()));
        assert!(stated.get("crit").is_none() && stated.get("b64").is_none());
    }
    match keys.verify(&jws) {
        Ok(key) => assert!(key.fits(jws.header().algorithm)),
        Err(fault) => {
            assert!(matches!(fault, Fault::NoSuchKey | Fault::Signature), "{fault}");
            return Some(false);
        }
    }
    Some(true)
}

fn check_keys(bytes: &[u8]) -> Option<KeySet> {
    let read = KeySet::parse(bytes);
    let is_static = KeySet::from_json(bytes).is_ok();
    let Ok(keys) = read else {
        assert!(!is_static, "what is no set is a static one");
        return None;
    };
    assert!((1..=64).contains(&keys.len()));
    let stated: Option<Value> = serde_json::from_slice(bytes).ok();
    if let Some(stated) = &stated {
        let public =
            |key: &Value| key["kty"] != "oct" && !["d", "p", "k"].iter().any(|member| key.get(*member).is_some());
        let all = stated["keys"].as_array().map_or(std::slice::from_ref(stated), Vec::as_slice);
        assert!(all.iter().filter(|key| public(key)).count() >= keys.len(), "a private key was taken");
        // As it is written anew, it is the same set.
        let again = KeySet::parse(stated.to_string().as_bytes()).expect("it was read");
        assert_eq!(format!("{again:?}"), format!("{keys:?}"));
    }
    for algorithm in ALL {
        let candidates: Vec<_> = keys.candidates(&Header { algorithm, typ: None, kid: None }).collect();
        assert!(candidates.len() <= 4);
        for key in candidates {
            assert!(key.fits(algorithm) && key.thumbprint().len() == 43);
            let named = Header { algorithm, typ: None, kid: key.kid().map(str::to_owned) };
            assert!(keys.candidates(&named).next().is_some());
        }
    }
    Some(keys)
}
