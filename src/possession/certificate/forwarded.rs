//! What a proxy says of the client certificate of its connection.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;

use super::{ClientCertificate, Unreadable};

/// In bytes, of a header. A certificate has one to two thousand.
const LONGEST: usize = 16 * 1024;

/// The form in which a proxy that ends TLS hands the client certificate on. Each proxy has one: name that of yours.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedCertificate {
    /// `Client-Cert` of RFC 9440: the certificate in base64 between colons.
    ClientCert,
    /// `X-Forwarded-Client-Cert` of Envoy, with one element, of which `Hash` is read, the SHA-256 of the certificate in
    /// hexadecimal digits. Set `forward_client_cert_details` to `SANITIZE_SET`: Envoy then removes what its callers
    /// wrote. With `APPEND_FORWARD` it keeps that, and what has several elements is refused here.
    Envoy,
    /// `$ssl_client_escaped_cert` of nginx in a header of this name: the certificate in PEM, percent-encoded. With
    /// `proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;` nginx replaces what its callers wrote.
    EscapedPem(HeaderName),
}

impl ForwardedCertificate {
    pub(crate) fn header(&self) -> HeaderName {
        match self {
            Self::ClientCert => HeaderName::from_static("client-cert"),
            Self::Envoy => HeaderName::from_static("x-forwarded-client-cert"),
            Self::EscapedPem(name) => name.clone(),
        }
    }

    /// `None` if the proxy says nothing.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Result<Option<ClientCertificate>, Unreadable> {
        let mut values = headers.get_all(self.header()).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() || value.len() > LONGEST {
            return Err(Unreadable);
        }
        // Of a connection without a certificate. nginx then leaves the header away, others may not.
        if value.is_empty() && matches!(self, Self::EscapedPem(_)) {
            return Ok(None);
        }
        let text = value.to_str().map_err(|_| Unreadable)?;
        let read = match self {
            Self::ClientCert => between_colons(text).map(|der| ClientCertificate::from_der(&der)),
            Self::Envoy => hash_of_envoy(text).map(|hash| ClientCertificate { hash }),
            Self::EscapedPem(_) => escaped_pem(text).map(|der| ClientCertificate::from_der(&der)),
        };
        read.map(Some).ok_or(Unreadable)
    }
}

/// A byte sequence, RFC 8941 section 3.3.5, without parameters.
fn between_colons(text: &str) -> Option<Vec<u8>> {
    der(text.trim_matches(' ').strip_prefix(':')?.strip_suffix(':')?)
}

/// Base64 of something in DER that begins as a certificate does.
fn der(base64: &str) -> Option<Vec<u8>> {
    const SEQUENCE: u8 = 0x30;
    BASE64_STANDARD.decode(base64).ok().filter(|der| der.first() == Some(&SEQUENCE))
}

/// One element with one `Hash`, outside of quotes: `By=...;Hash=...;Subject="..."`.
///
/// A value is in quotes as a whole or not at all. Otherwise a caller could open quotes in front of what the proxy adds,
/// and close them by the name of its own certificate.
fn hash_of_envoy(text: &str) -> Option<[u8; 32]> {
    let (mut rest, mut hash) = (Some(text), None);
    while let Some(pairs) = rest {
        let (name, value) = pairs.split_once('=')?;
        let (value, after) = value.split_at_checked(value_length(value)?)?;
        rest = match after.strip_prefix(';') {
            None if !after.is_empty() => return None,
            more => more,
        };
        // Envoy takes names in any case.
        let is_hash = name.trim_matches(' ').eq_ignore_ascii_case("hash");
        if name.contains(SPECIAL) || (is_hash && hash.replace(hexadecimal(value)?).is_some()) {
            return None;
        }
    }
    hash
}

/// A comma begins a second element: another proxy's, or a caller's.
const SPECIAL: [char; 3] = [',', ';', '"'];

/// With the quotes.
fn value_length(text: &str) -> Option<usize> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(SPECIAL).unwrap_or(text.len());
        return Some(end);
    };
    let mut is_escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map(|end| end + 2)
}

fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// One certificate in PEM, RFC 7468, percent-encoded.
fn escaped_pem(text: &str) -> Option<Vec<u8>> {
    let pem: Cow<str> = percent_decode(text.as_bytes()).decode_utf8().ok()?;
    let body = pem.trim_ascii().strip_prefix("-----BEGIN CERTIFICATE-----")?;
    let body = body.strip_suffix("-----END CERTIFICATE-----")?;
    // A second certificate has dashes, which are no base64.
    let base64: String = body.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    der(&base64)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const DER: &[u8] = b"0\x03certificate";

    fn read(form: &ForwardedCertificate, values: &[&str]) -> Result<Option<ClientCertificate>, Unreadable> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(form.header(), HeaderValue::from_str(value).unwrap());
        }
        form.read(&headers)
    }

    fn nginx() -> ForwardedCertificate {
        ForwardedCertificate::EscapedPem(HeaderName::from_static("x-ssl-client-cert"))
    }

    fn is_read(form: &ForwardedCertificate, value: &str) -> bool {
        read(form, &[value]) == Ok(Some(ClientCertificate::from_der(DER)))
    }

    #[test]
    fn each_form_tells_the_same_certificate() {
        let base64 = BASE64_STANDARD.encode(DER);
        assert!(is_read(&ForwardedCertificate::ClientCert, &format!(":{base64}:")));
        let hash: String = crate::jose::sha256(DER).iter().map(|byte| format!("{byte:02x}")).collect();
        for value in [
            format!("Hash={hash}"),
            format!("hash={}", hash.to_uppercase()),
            format!(r#"By=spiffe://a,Hash={hash};Subject="CN=x""#).replace(",Hash", ";Hash"),
            format!(r#"Subject="/C=US;Hash=0,\"x";Hash={hash};URI=y"#),
        ] {
            assert!(is_read(&ForwardedCertificate::Envoy, &value), "{value}");
        }
        let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        let escaped = percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC).to_string();
        assert!(is_read(&nginx(), &escaped), "{escaped}");
    }

    #[test]
    fn what_is_not_exactly_one_certificate_is_unreadable() {
        let base64 = BASE64_STANDARD.encode(DER);
        let hash = "0".repeat(64);
        let good = [format!(":{base64}:"), format!("Hash={hash}")];
        for (form, value) in [ForwardedCertificate::ClientCert, ForwardedCertificate::Envoy].iter().zip(&good) {
            assert!(read(form, &[value]).is_ok_and(|read| read.is_some()));
            assert_eq!(read(form, &[value, value]), Err(Unreadable), "{form:?}");
            assert_eq!(read(form, &[]), Ok(None));
            assert_eq!(read(form, &[""]), Err(Unreadable));
            assert_eq!(read(form, &[&"x".repeat(LONGEST + 1)]), Err(Unreadable));
        }
        for bad in [base64.clone(), format!(":{base64}"), "::".into(), format!(":{base64}:;x=1"), ":AAAA:".into()] {
            assert_eq!(read(&ForwardedCertificate::ClientCert, &[&bad]), Err(Unreadable), "{bad}");
        }
        for bad in [
            format!("Hash={hash},Hash={hash}"),
            format!("By=x,Hash={hash}"),
            format!("Hash={hash};Hash={hash}"),
            format!("Hash={}", &hash[1..]),
            format!("Hash=\"{hash}\""),
            format!("Hash={hash};Subject=\"x"),
            format!("Hash={hash};Subject=\"x\"y"),
            format!("Hash={hash};Subject=x\"y\""),
            format!("Hash={hash};\"Subject\"=x"),
            format!("Hash={hash};"),
            format!(";Hash={hash}"),
            format!("Hash={hash};By"),
            // What a caller has written, and the proxy went on with. The caller's certificate is for `a"b`.
            format!(r#"Hash={hash};Subject=",Hash={hash};Subject="CN=a\"b""#),
            format!(r#"Hash={hash};Subject=",Hash={hash};Subject="CN=a\"""#),
            "By=x".into(),
        ] {
            assert_eq!(read(&ForwardedCertificate::Envoy, &[&bad]), Err(Unreadable), "{bad}");
        }
        assert_eq!(read(&nginx(), &[""]), Ok(None));
        let pem = format!("-----BEGIN CERTIFICATE-----%0A{base64}%0A-----END CERTIFICATE-----%0A");
        assert!(is_read(&nginx(), &pem));
        for bad in [format!("{pem}{pem}"), pem[1..].to_owned(), pem.replace("CERTIFICATE", "PRIVATE KEY"), "%ff".into()]
        {
            assert_eq!(read(&nginx(), &[&bad]), Err(Unreadable), "{bad}");
        }
    }
}
