//! What proxies say of the certificates of their connections, each in its form.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::*;

const OF_NGINX: HeaderName = HeaderName::from_static("x-ssl-client-cert");

/// What the header says, and whether the request comes in.
async fn status(form: ForwardedCertificate, headers: &[(&str, &str)]) -> u16 {
    let certificates = ClientCertificates::of_connections().or_from_proxy(form, is_proxy);
    let layer = guard(Some(certificates), Some(&bound_to(MINE)));
    let mut request = asked(from_proxy, false);
    for (name, value) in headers {
        request.headers_mut().append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    layer.layer(Idle).oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn each_form_is_read_and_no_other_is_looked_at() {
    let escaped = utf8_percent_encode(PEM, NON_ALPHANUMERIC).to_string();
    // nginx leaves more as it is.
    let as_nginx_does = PEM.replace(' ', "%20").replace('\n', "%0A").replace('+', "%2B").replace('/', "%2F");
    let (base64, hash) = (client_cert(&der()), format!(r#"By=spiffe://a/b;Hash={OPENSSL_HEX};Subject="CN=a,O=b;c""#));
    let all = [("client-cert", &*base64), ("x-forwarded-client-cert", &*hash), ("x-ssl-client-cert", &*escaped)];
    let forms =
        [ForwardedCertificate::ClientCert, ForwardedCertificate::Envoy, ForwardedCertificate::EscapedPem(OF_NGINX)];
    for (at, form) in forms.iter().enumerate() {
        for (other, header) in all.iter().enumerate() {
            let expected = if at == other { 200 } else { 401 };
            assert_eq!(status(form.clone(), &[*header]).await, expected, "{form:?} {header:?}");
        }
        assert_eq!(status(form.clone(), &all).await, 200, "{form:?}");
        assert_eq!(status(form.clone(), &[all[at], all[at]]).await, 401, "{form:?} twice");
    }
    let nginx = ForwardedCertificate::EscapedPem(OF_NGINX);
    assert_eq!(status(nginx.clone(), &[("x-ssl-client-cert", &as_nginx_does)]).await, 200);
    assert_eq!(status(nginx.clone(), &[("x_ssl_client_cert", &as_nginx_does)]).await, 401, "another name");
    assert_eq!(status(nginx, &[("x-ssl-client-cert", "")]).await, 401);
}

/// traefik#5061 and many like it: a caller adds an element of its own before the proxy's, or behind it.
#[tokio::test]
async fn an_element_of_a_caller_beside_that_of_the_proxy_is_refused() {
    let (mine, other) = (format!("Hash={OPENSSL_HEX}"), format!("Hash={}", "0".repeat(64)));
    for value in [format!("{mine},{other}"), format!("{other},{mine}"), format!("{mine};{other}"), format!("{mine},")] {
        assert_eq!(status(ForwardedCertificate::Envoy, &[("x-forwarded-client-cert", &value)]).await, 401, "{value}");
    }
    assert_eq!(status(ForwardedCertificate::Envoy, &[("x-forwarded-client-cert", &mine)]).await, 200);
}
