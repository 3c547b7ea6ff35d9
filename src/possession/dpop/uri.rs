//! What a proof was made for, `htu`, and what the request is for: compared as RFC 3986 section 6.2 has it.

use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A URI of HTTP without query and fragment, in the normal form of RFC 3986 sections 6.2.2 and 6.2.3: scheme and host
/// in lower case, no port that is the scheme's own, percent-encoding only where it has to be and in upper case, no `.`
/// and `..` segments, `/` for an empty path. A path is compared with case; `//`, `%2F` and a slash at the end stand for
/// themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HttpUri {
    scheme: &'static str,
    host: String,
    port: u16,
    path: String,
}

/// In which part two differ, the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Scheme,
    Host,
    Port,
    Path,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Self::Scheme => "its scheme is another one",
            Self::Host => "its host is another one",
            Self::Port => "its port is another one",
            Self::Path => "its path is another one",
        }
    }
}

/// Where callers reach the service, and the prefix that a proxy takes off the path.
pub(super) struct PublicOrigin {
    uri: HttpUri,
    /// In the normal form, without a slash at the end.
    text: String,
}

impl PublicOrigin {
    /// `None` if it is no absolute URI of HTTP.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri = HttpUri::parse(text)?;
        let HttpUri { scheme, host, port, path } = &uri;
        let prefix = path.strip_suffix('/').unwrap_or(path);
        let own_port = if *scheme == "https" { 443 } else { 80 };
        let port = if *port == own_port { String::new() } else { format!(":{port}") };
        let text = format!("{scheme}://{host}{port}{prefix}");
        Some(Self { uri, text })
    }

    /// Whether `stated` is the URI of a request with this path.
    pub(super) fn judge(&self, stated: &str, path: &str) -> Result<(), &'static str> {
        // As almost everybody writes it: letter by letter, where nothing has to be made normal.
        if stated.strip_prefix(&*self.text) == Some(path) && is_normal(path) {
            return Ok(());
        }
        let expected = self.uri.below(path).ok_or("the target of the request is no path")?;
        let stated = HttpUri::parse(stated).ok_or("it is no absolute URI of HTTP")?;
        stated.differs_from(&expected).map_or(Ok(()), |part| Err(part.as_str()))
    }
}

/// A path of which no part has another form.
fn is_normal(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.starts_with('/') && path.bytes().all(is_plain) && !path.contains("/.")
}

impl HttpUri {
    /// `None` if it is no absolute URI of HTTP. A query and a fragment are left out: RFC 9449 section 4.3 has them
    /// ignored.
    fn parse(text: &str) -> Option<Self> {
        let text = text.split(['?', '#']).next()?;
        let (scheme, rest) = text.split_once("://")?;
        let (scheme, own_port) = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => ("https", 443),
            _ if scheme.eq_ignore_ascii_case("http") => ("http", 80),
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority)?;
        // An empty port is the scheme's own, section 6.2.3.
        let port = if port.is_empty() { own_port } else { port.parse().ok()? };
        Some(Self { scheme, host: normal_host(host)?, port, path: normal_path(path) })
    }

    /// The URI of the same origin and this path, behind the own one.
    fn below(&self, path: &str) -> Option<Self> {
        if !path.starts_with('/') {
            return None;
        }
        let prefix = self.path.strip_suffix('/').unwrap_or(&self.path);
        // Apart, so that no `..` leaves the prefix.
        let path = format!("{prefix}{}", normal_path(path));
        Some(Self { path, host: self.host.clone(), ..*self })
    }

    fn differs_from(&self, other: &Self) -> Option<Part> {
        if self.scheme != other.scheme {
            Some(Part::Scheme)
        } else if self.host != other.host {
            Some(Part::Host)
        } else if self.port != other.port {
            Some(Part::Port)
        } else {
            (self.path != other.path).then_some(Part::Path)
        }
    }
}

/// A colon within the brackets of an IPv6 address is none before a port.
fn split_port(authority: &str) -> Option<(&str, &str)> {
    let end_of_host = match authority.strip_prefix('[') {
        Some(address) => address.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end_of_host);
    match port.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some((host, port)),
        None if port.is_empty() => Some((host, port)),
        _ => None,
    }
}

/// `None` if there is none, or with a user name before it.
fn normal_host(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[') {
        // One address can be written in several ways, RFC 5952.
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let is_of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_of_a_host) {
        return None;
    }
    let mut normal = normal_encoding(host);
    normal.make_ascii_lowercase();
    Some(normal)
}

fn normal_path(path: &str) -> String {
    let path = normal_encoding(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut all = path.split('/').skip(1).peekable();
    while let Some(segment) = all.next() {
        let is_last = all.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if is_last {
                    segments.push("");
                }
            }
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// What may stand in a path as it is, RFC 3986 section 3.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// Sections 6.2.2.1 and 6.2.2.2: an octet that need not be encoded is not, and digits are in upper case. What no URI
/// can hold, but the target of a request can, is encoded.
fn normal_encoding(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)) {
        return text.to_owned();
    }
    let mut normal = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        normal.extend(utf8_percent_encode(&rest[..at], ENCODED));
        rest = &rest[at..];
        let octet = rest.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match octet.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => normal.push(char::from(byte)),
            Some(_) => normal.extend(rest[..3].chars().map(|letter| letter.to_ascii_uppercase())),
            None => {
                normal.push_str("%25");
                rest = &rest[1..];
                continue;
            }
        }
        rest = &rest[3..];
    }
    normal.extend(utf8_percent_encode(rest, ENCODED));
    normal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let parsed = |text| HttpUri::parse(text).unwrap_or_else(|| panic!("{text} is no URI"));
        parsed(one).differs_from(&parsed(other)).is_none()
    }

    #[test]
    fn what_rfc_3986_calls_equivalent_is_the_same() {
        for (one, other) in [
            ("https://server.example.com/resource", "HTTPS://Server.Example.COM/resource"),
            ("https://server.example.com/resource", "https://server.example.com:443/resource"),
            ("https://server.example.com/resource", "https://server.example.com:/resource"),
            ("http://server.example.com/", "http://server.example.com:80"),
            ("https://a.example/resource", "https://a.example/resource?query=1#fragment"),
            ("https://a.example/resource", "https://a.example/resource#a?b"),
            ("https://a.example/~user/caf%C3%A9", "https://a.example/%7Euser/caf%c3%a9"),
            ("https://a.example/a/c", "https://a.example/a/./b/../c"),
            ("https://a.example/a/", "https://a.example/a/b/.."),
            ("https://a.example/a/", "https://a.example/a/%2e"),
            ("https://a.example/", "https://a.example/../.."),
            ("https://[::1]:8443/x", "https://[0:0:0:0:0:0:0:1]:8443/x"),
            ("https://[2001:DB8::A]/x", "https://[2001:db8::a]:443/x"),
            ("https://a.example/a|b", "https://a.example/a%7Cb"),
            ("https://a.example/ä", "https://a.example/%C3%A4"),
            ("https://a.example/%4%31", "https://a.example/%2541"),
            ("https://a%2Dexample/", "https://a-example/"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_names_another_resource_differs_and_it_is_told_where() {
        for (other, part) in [
            ("http://a.example/x/y", Part::Scheme),
            ("http://a.example:443/x/y", Part::Scheme),
            ("https://b.example/x/y", Part::Host),
            ("https://a.example./x/y", Part::Host),
            ("https://a.example:8443/x/y", Part::Port),
            ("https://a.example/X/y", Part::Path),
            ("https://a.example/x/y/", Part::Path),
            ("https://a.example//x/y", Part::Path),
            ("https://a.example/x//y", Part::Path),
            ("https://a.example/x%2Fy", Part::Path),
            ("https://a.example/x/y%3Fz", Part::Path),
            ("https://a.example/x/y%00", Part::Path),
            ("https://a.example/x/y;z", Part::Path),
            ("https://a.example/x/%25y", Part::Path),
            ("https://a.example", Part::Path),
        ] {
            let (one, other) = (HttpUri::parse("https://a.example/x/y").unwrap(), HttpUri::parse(other).unwrap());
            assert_eq!(one.differs_from(&other), Some(part), "{other:?}");
            assert_eq!(other.differs_from(&one), Some(part), "{other:?}");
        }
        assert!(!same("https://a.example/%2F", "https://a.example//"));
    }

    #[test]
    fn what_is_no_absolute_uri_of_http_is_none() {
        for text in [
            "",
            "/resource",
            "a.example/resource",
            "//a.example/resource",
            "https:/a.example/resource",
            "https:///resource",
            "https://:443/resource",
            "https://user@a.example/resource",
            "https://user:password@a.example/resource",
            "https://a.example:x/resource",
            "https://a.example:65536/resource",
            "https://a.example:+1/resource",
            "https://a.example:1:2/resource",
            "https://[::1/resource",
            "https://[::1]x/resource",
            "https://[::1]443/resource",
            "https://[v1.x]/resource",
            "https://::1/resource",
            "https://a b.example/resource",
            "https://\u{e4}.example/resource",
            "https://a.example\\@b.example/",
            "ftp://a.example/resource",
            " https://a.example/resource",
        ] {
            assert_eq!(HttpUri::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_stands_behind_that_of_the_public_origin() {
        let below = |origin: &str, path| HttpUri::parse(origin).unwrap().below(path);
        let is = |text| HttpUri::parse(text);
        assert_eq!(below("https://a.example", "/orders"), is("https://a.example/orders"));
        assert_eq!(below("https://a.example/", "/orders"), is("https://a.example/orders"));
        assert_eq!(below("https://a.example/v1", "/orders"), is("https://a.example/v1/orders"));
        assert_eq!(below("https://a.example/v1/", "/orders"), is("https://a.example/v1/orders"));
        assert_eq!(below("https://a.example/v1", "/"), is("https://a.example/v1/"));
        assert_eq!(below("https://a.example/v1", "//x"), is("https://a.example/v1//x"));
        assert_eq!(below("https://a.example:8443", "/p.S/M"), is("https://a.example:8443/p.S/M"));
        assert_eq!(below("https://a.example/v1", "/../x"), is("https://a.example/v1/x"));
        // The target of `OPTIONS *`.
        assert_eq!(below("https://a.example", "*"), None);
    }

    proptest! {
        #[test]
        fn the_short_way_says_what_the_long_one_does(
            origin in "https?://(a\\.example|A\\.example)(:(80|443|8443))?(/v1/?|/%41|/)?",
            path in "/([a-z.~%/]|%2e|\\.\\.){0,8}",
            other in "/([a-z.~%/]|%2e|\\.\\.){0,8}",
        ) {
            let public = PublicOrigin::parse(&origin).unwrap();
            let stated = [format!("{}{path}", public.text), format!("{}{other}", public.text), format!("{origin}{path}")];
            for stated in stated {
                let expected = public.uri.below(&path).unwrap();
                let same = HttpUri::parse(&stated).is_some_and(|stated| stated.differs_from(&expected).is_none());
                prop_assert_eq!(public.judge(&stated, &path).is_ok(), same, "{} {}", stated, path);
            }
        }

        #[test]
        fn to_make_it_normal_twice_changes_nothing(path in "(/|%|[0-9a-fA-F]|\\.|%2[eEfF]|[ -~]|\\PC){0,30}") {
            let once = normal_path(&format!("/{path}"));
            prop_assert_eq!(normal_path(&once), once);
        }

        #[test]
        fn whatever_is_read_does_not_panic(text in "\\PC{0,60}") {
            let _ = HttpUri::parse(&text);
            let _ = HttpUri::parse(&format!("https://{text}"));
        }
    }
}
