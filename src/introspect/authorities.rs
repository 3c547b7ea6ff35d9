//! Several authorities behind one layer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;

use self::sealed::Choose;
use super::{AnyIntrospector, Introspect};
use crate::build_error::BuildError;
use crate::request::RequestView;

/// Who is asked about the token of a request: one [`Introspect`], or one of several [`Authorities`].
///
/// Every `Introspect` chooses itself. The trait is not for other types to implement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be asked about tokens",
    note = "implement `Introspect` for it, or use `Cached`, `Authorities` or `introspect_fn`"
)]
pub trait ChooseIntrospector: Send + Sync + 'static + Choose {}

impl<I: Introspect> ChooseIntrospector for I {}

impl ChooseIntrospector for Authorities {}

mod sealed {
    use std::sync::Arc;

    use http::request::Parts;

    use super::Introspect;

    /// What a layer does with a [`ChooseIntrospector`](super::ChooseIntrospector), and nobody else.
    pub trait Choose {
        /// What is chosen.
        type Introspector: Introspect;

        /// The introspector for this request; `None` if there is none. One of several is noted in the request's
        /// extensions, in place of what a layer outside of this one has noted.
        fn choose<'a>(self: &'a Arc<Self>, request: &mut Parts) -> Option<&'a Arc<Self::Introspector>>;
    }
}

impl<I: Introspect> Choose for I {
    type Introspector = I;

    fn choose<'a>(self: &'a Arc<Self>, request: &mut Parts) -> Option<&'a Arc<I>> {
        forget_choice(request);
        Some(self)
    }
}

/// What a layer around this one has noted says nothing about this one.
fn forget_choice(request: &mut Parts) {
    // To look first takes half as long, and there hardly ever is one.
    if request.extensions.get::<ChosenAuthority>().is_some() {
        request.extensions.remove::<ChosenAuthority>();
    }
}

/// Several authorities, of which each request chooses one: by its host, or however a closure says.
///
/// Each has its own introspector: give each a cache of its own, so that no authority answers for another, with a
/// [`name`](crate::cache::CachedBuilder::name), or their metrics run together. A request that chooses none of them is
/// rejected as [`InvalidToken`](crate::rejection::RejectionKind::InvalidToken), and nobody is asked.
///
/// **A token that one authority calls active says nothing about what belongs to another.** Which one a request chose
/// stands in its extensions as [`ChosenAuthority`], behind an optional layer also if no token came: tell tenants apart
/// by it, and not by looking at the request once more. The issuer that a token states
/// ([`require_issuer`](crate::Policy::require_issuer)) is no proof of who was asked: `iss` is the answering server's
/// own claim.
///
/// ```
/// use tower_introspection::{Apigee, Authorities, Cached, IntrospectionLayer, Rfc7662};
///
/// let apigee = Apigee::builder("my-org").basic_auth("token-reader@example.com", "password").build()?;
/// let keycloak = Rfc7662::builder("https://auth.example.com/introspect").client_secret_basic("my-api", "s").build()?;
/// let authorities = Authorities::choose_by(|request| request.path().split('/').nth(1).map(Into::into))
///     .authority("partners", Cached::builder(apigee).name("partners").build()?)
///     .authority("staff", Cached::builder(keycloak).name("staff").build()?)
///     .build()?;
/// let layer = IntrospectionLayer::new(authorities);
/// # Ok::<(), tower_introspection::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Authorities {
    choose: ChooseBy,
    by_name: HashMap<Arc<str>, Arc<AnyIntrospector>>,
}

/// Which of several [`Authorities`] the request chose, in its extensions: for handlers, and for the rules of
/// [`authorize`](crate::layer::IntrospectionLayerBuilder::authorize).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenAuthority(Arc<str>);

impl ChosenAuthority {
    /// The name it was [added](AuthoritiesBuilder::authority) by; that of a host is in lower case, without a dot at its
    /// end.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

type ChooseBy = Arc<dyn for<'r> Fn(&RequestView<'r>) -> Option<Cow<'r, str>> + Send + Sync>;

impl Authorities {
    /// Chooses the authority whose name `choose` returns.
    pub fn choose_by<F>(choose: F) -> AuthoritiesBuilder
    where
        F: for<'r> Fn(&RequestView<'r>) -> Option<Cow<'r, str>> + Send + Sync + 'static,
    {
        AuthoritiesBuilder { choose: Arc::new(choose), by_name: HashMap::new(), any_case: false, repeated: None }
    }

    /// Chooses the authority that is named like the request's host, in whichever case, without a port and without the
    /// dot that a host may end with (RFC 3986 section 3.2.2): `https://Acme.Example.:8443/` chooses `acme.example`. The
    /// host comes from the request's target and from its one `Host` header, and thus from the caller; a request in
    /// which the two differ chooses none. An IP address is chosen as it is written: `[::1]` is not `[0:0:0:0:0:0:0:1]`.
    ///
    /// A name with a scheme, a port or a path could never be chosen and is refused by
    /// [`build`](AuthoritiesBuilder::build); so is one with other characters than ASCII, which requests have as
    /// `xn--...`.
    ///
    /// Other headers are not looked at. **A handler that trusts `X-Forwarded-Host` or `Forwarded`**, as the `Host`
    /// extractor of `axum-extra` does, can see another host than the one that was chosen by, and take a token of one
    /// tenant for one of another. Have it read [`ChosenAuthority`] instead.
    pub fn by_host() -> AuthoritiesBuilder {
        let builder = Self::choose_by(|request| host(request).map(Cow::Owned));
        AuthoritiesBuilder { any_case: true, ..builder }
    }

    /// The authority of this name, to ask it without a request: at start-up, or again while a WebSocket is open, for
    /// which [`ChosenAuthority`] has the name. Of a host it is in lower case, without a dot at its end.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&AnyIntrospector> {
        self.by_name.get(name).map(|introspector| &**introspector)
    }
}

/// The one host the request names. The service may look at either place, so if both name one it has to be the same.
fn host(request: &RequestView) -> Option<String> {
    let mut headers = request.headers().get_all(HOST).iter();
    let stated = match (headers.next(), headers.next()) {
        (None, _) => None,
        (Some(value), None) => Some(bare_host(&value.to_str().ok()?.parse().ok()?)?),
        (Some(_), Some(_)) => return None,
    };
    let Some(target) = request.uri().authority() else { return stated };
    let target = bare_host(target)?;
    stated.is_none_or(|stated| stated == target).then_some(target)
}

/// In lower case, without a port and the dot of the root; `None` if there is a user before it, or behind it something
/// that is no port, or nothing is left of it.
fn bare_host(authority: &http::uri::Authority) -> Option<String> {
    let host = authority.host();
    let rest = authority.as_str().strip_prefix(host)?;
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let host = without_root(host);
    // Two dots at the end are no name, and what some readers make of them is not to be guessed.
    let is_name = !host.is_empty() && !host.ends_with('.');
    let is_whole = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    (is_name && is_whole).then(|| host.to_ascii_lowercase())
}

/// Without the dot at the end that stands for the root of all names, RFC 3986 section 3.2.2. With it or without, a name
/// is that of the same host.
fn without_root(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

impl Choose for Authorities {
    type Introspector = AnyIntrospector;

    fn choose<'a>(self: &'a Arc<Self>, request: &mut Parts) -> Option<&'a Arc<AnyIntrospector>> {
        // By what an outer layer has chosen, if that is wanted.
        let chosen = (self.choose)(&RequestView::new(request)).and_then(|name| self.by_name.get_key_value(&*name));
        let Some((name, introspector)) = chosen else {
            forget_choice(request);
            return None;
        };
        request.extensions.insert(ChosenAuthority(Arc::clone(name)));
        Some(introspector)
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Authorities").field("names", &self.by_name.keys()).finish_non_exhaustive()
    }
}

/// Names the [`Authorities`]. Made by [`Authorities::choose_by`] and [`Authorities::by_host`].
#[must_use]
pub struct AuthoritiesBuilder {
    choose: ChooseBy,
    by_name: HashMap<Arc<str>, Arc<AnyIntrospector>>,
    any_case: bool,
    repeated: Option<Arc<str>>,
}

impl AuthoritiesBuilder {
    /// Adds an authority. Wrap its endpoint in a [`Cached`](crate::Cached) of its own. The case of a host and a dot at
    /// its end mean nothing.
    pub fn authority(mut self, name: impl Into<String>, introspector: impl Introspect) -> Self {
        let mut name = name.into();
        if self.any_case {
            name.truncate(without_root(&name).len());
            name.make_ascii_lowercase();
        }
        match self.by_name.entry(name.into()) {
            Entry::Vacant(vacant) => drop(vacant.insert(Arc::new(AnyIntrospector::new(introspector)))),
            Entry::Occupied(occupied) => self.repeated = Some(occupied.key().clone()),
        }
        self
    }

    /// Checks the names.
    ///
    /// # Errors
    /// If there is no authority, or two of one name, or one whose name is to be a host and is none.
    pub fn build(self) -> Result<Authorities, BuildError> {
        if let Some(name) = self.repeated {
            return Err(BuildError::new("authority", format!("there are two of the name {name:?}")));
        }
        if self.by_name.is_empty() {
            return Err(BuildError::new("authority", "none is named, so every request would be rejected"));
        }
        let is_host = |name: &str| name.parse().ok().as_ref().and_then(bare_host).is_some_and(|host| *host == *name);
        if let Some(name) = self.by_name.keys().find(|name| self.any_case && !is_host(name)) {
            return Err(BuildError::new(
                "authority",
                format!("{name:?} is no host: name it without scheme, port and path, in ASCII"),
            ));
        }
        Ok(Authorities { choose: self.choose, by_name: self.by_name })
    }
}

impl fmt::Debug for AuthoritiesBuilder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("AuthoritiesBuilder").field("names", &self.by_name.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(uri: &str, headers: &[&str]) -> Option<String> {
        let mut request = http::Request::builder().uri(uri);
        for value in headers {
            request = request.header("host", *value);
        }
        host(&RequestView::new(&request.body(()).unwrap().into_parts().0))
    }

    #[test]
    fn the_host_is_read_from_the_target_or_from_the_one_host_header() {
        assert_eq!(host_of("https://Acme.Example:8443/x", &[]).as_deref(), Some("acme.example"));
        assert_eq!(host_of("https://acme.example/x", &["ACME.example"]).as_deref(), Some("acme.example"));
        assert_eq!(host_of("/x", &["Acme.Example:8443"]).as_deref(), Some("acme.example"));
        assert_eq!(host_of("/x", &["[::1]:80"]).as_deref(), Some("[::1]"));
        assert_eq!(host_of("/x", &["127.0.0.1:80"]).as_deref(), Some("127.0.0.1"));
        assert_eq!(host_of("/x", &[]), None);
        assert_eq!(host_of("/x", &["a.example", "a.example"]), None);
        assert_eq!(host_of("/x", &["a b"]), None);
    }

    #[test]
    fn however_a_host_is_written_it_is_the_same() {
        let written = [
            "acme.example",
            "acme.example.",
            "ACME.Example.",
            "acme.example:443",
            "acme.example:80",
            "acme.example.:443",
            "acme.example:",
            "acme.example.:",
        ];
        for target in written {
            for header in written {
                assert_eq!(host_of("/x", &[header]).as_deref(), Some("acme.example"), "{header}");
                let whole = format!("https://{target}/x");
                assert_eq!(host_of(&whole, &[header]).as_deref(), Some("acme.example"), "{target} {header}");
            }
        }
    }

    #[test]
    fn what_is_no_host_chooses_nobody() {
        for header in [
            "",
            ".",
            "..",
            ".:80",
            ":80",
            "acme.example..",
            "acme.example..:443",
            "acme.example.:x",
            "acme.example:80:80",
            " acme.example",
            "acme.example ",
            "acme.example, b.example",
            "acme.example/x",
            "acme%2eexample",
            "[::1].",
            "[::1]x",
            "::1",
        ] {
            assert_eq!(host_of("/x", &[header]), None, "{header:?}");
        }
    }

    #[test]
    fn a_name_that_is_no_host_could_never_be_chosen_and_is_refused() {
        let named = |name: &str| {
            let nobody =
                crate::introspect_fn(|_| async { Ok(crate::Verdict::Inactive(crate::InactiveReason::Unknown)) });
            Authorities::by_host().authority(name, nobody).build()
        };
        for host in ["a.example", "A.Example", "a.example.", "localhost", "localhost.", "127.0.0.1", "[::1]"] {
            assert!(named(host).is_ok(), "{host}");
        }
        for other in [
            "https://a.example",
            "a.example:443",
            "a.example/x",
            "",
            ".",
            "a.example..",
            "a b",
            "user@a.example",
            "\u{e4}.example",
        ] {
            assert_eq!(named(other).unwrap_err().setting(), "authority", "{other}");
        }
    }

    #[test]
    fn a_host_that_could_be_read_in_two_ways_chooses_nobody() {
        for (target, header) in [
            ("http://a.example/x", "b.example"),
            ("http://b.example@a.example/x", "a.example"),
            ("/x", "b.example@a.example"),
            ("/x", "a.example:b.example"),
        ] {
            assert_eq!(host_of(target, &[header]), None, "{target} {header}");
        }
    }
}
