//! An authority's endpoint: exchanges, with credentials that renew themselves, behind its protection.

use std::future::{Future, ready};
use std::sync::Arc;

use http::StatusCode;
use reqwest::Url;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::build_error::BuildError;
use crate::clock::{Clock, Stopwatch};
use crate::credentials::source::CredentialSource;
use crate::error::{IntrospectError, IntrospectErrorKind, Sort};
use crate::http::credential::Credential;
use crate::http::exchange::{Body, Call, JSON, Reply};
use crate::http::link::Link;
use crate::introspect::Unclear;
use crate::log_limit::LogLimit;
use crate::protection::Share;
use crate::protection::{Authority, EndpointHandle, Limits, Progress, Protection, RateLimit};
use crate::target::{Search, Sought, Target};

pub(crate) struct Endpoint {
    asked: Asked,
    protection: Arc<Protection>,
    authority: Arc<Authority>,
    clock: Arc<dyn Clock>,
    /// The host that is asked, for spans: that of the issuer, if the endpoint is found by a question.
    host: String,
    /// The media type that it is asked for.
    accept: &'static str,
    failures: LogLimit<(Sort, Share)>,
    unclear: Unclear,
}

/// What an authority says.
pub(crate) enum Heard<T> {
    OfTheToken(T),
    /// Or that it refuses this service's credentials: nobody can tell.
    OfTheTokenOrUs(T),
}

enum Asked {
    Given(Target),
    Sought(Sought),
}

impl Endpoint {
    /// `rate_limit` is for who sets none.
    ///
    /// # Errors
    /// Of the settings of both; what is wrong with `url` goes by `url_setting`.
    pub(crate) fn open(
        url_setting: &'static str,
        url: &Url,
        authority: Authority,
        link: Link,
        limits: &Limits,
        rate_limit: RateLimit,
        credentials: CredentialSource,
    ) -> Result<Self, BuildError> {
        let exchange = link.open(url_setting, url)?;
        let target = Target { url: url.as_str().to_owned(), exchange, credentials: Arc::new(credentials) };
        Self::at(target, authority, url, link, limits, rate_limit)
    }

    /// `rate_limit` is for who sets none.
    ///
    /// # Errors
    /// Of the limits.
    pub(crate) fn at(
        target: Target,
        authority: Authority,
        url: &Url,
        link: Link,
        limits: &Limits,
        rate_limit: RateLimit,
    ) -> Result<Self, BuildError> {
        Self::of(Asked::Given(target), authority, url, link, limits, rate_limit)
    }

    /// An endpoint of this issuer that the first question finds. `rate_limit` is for who sets none.
    ///
    /// # Errors
    /// Of the limits.
    pub(crate) fn sought(
        search: impl Search + 'static,
        authority: Authority,
        issuer: &Url,
        link: Link,
        limits: &Limits,
        rate_limit: RateLimit,
    ) -> Result<Self, BuildError> {
        Self::of(Asked::Sought(Sought::new(search)), authority, issuer, link, limits, rate_limit)
    }

    fn of(
        asked: Asked,
        authority: Authority,
        url: &Url,
        link: Link,
        limits: &Limits,
        rate_limit: RateLimit,
    ) -> Result<Self, BuildError> {
        limits.check()?;
        let (clock, host) = (link.clock, url.host_str().unwrap_or_default());
        let protection = Protection::new(limits, rate_limit, link.request_timeout, Arc::clone(&clock), host);
        let (failures, unclear) = (LogLimit::new(), Unclear::at(host));
        let authority = Arc::new(authority);
        let (protection, host) = (Arc::new(protection), host.to_owned());
        Ok(Self { asked, protection, authority, clock, host, accept: JSON, failures, unclear })
    }

    /// The same, asked for this media type instead of JSON.
    #[cfg(feature = "jwt")]
    pub(crate) fn accepting(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    /// What is asked, if that is known yet.
    pub(crate) fn target(&self) -> Option<&Target> {
        match &self.asked {
            Asked::Given(target) => Some(target),
            Asked::Sought(sought) => sought.found(),
        }
    }

    async fn find(&self, progress: &Progress) -> Result<&Target, IntrospectError> {
        match &self.asked {
            Asked::Given(target) => Ok(target),
            Asked::Sought(sought) => progress.searching(sought.find(&self.clock, || progress.sends())).await,
        }
    }

    /// Tells of its answers that are not a clear yes.
    pub(crate) fn unclear(&self) -> &Unclear {
        &self.unclear
    }

    #[cfg(feature = "jwt")]
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn handle(&self) -> EndpointHandle {
        EndpointHandle::new(Arc::clone(&self.protection), Arc::clone(&self.authority))
    }

    /// Asks, at `url` if the question has one of its own, and has `read` make something of the answer.
    ///
    /// If the authority refuses this service's credentials with 401, or may do so with what it says of a token, and
    /// there is a way to renew them, it is asked once more with the new ones.
    pub(crate) async fn ask<T: Send>(
        &self,
        url: Option<&str>,
        form: Option<&[(&str, &str)]>,
        share: Share,
        read: impl Fn(&Reply) -> Result<Heard<T>, IntrospectError> + Send + Sync,
    ) -> Result<T, IntrospectError> {
        self.ask_and(url, form, share, read, |heard| ready(Ok(heard))).await
    }

    /// The same, and what comes of it is a part of the question: its time, and its failure.
    pub(crate) async fn ask_and<T: Send, A: Send, F: Future<Output = Result<A, IntrospectError>> + Send>(
        &self,
        url: Option<&str>,
        form: Option<&[(&str, &str)]>,
        share: Share,
        read: impl Fn(&Reply) -> Result<Heard<T>, IntrospectError> + Send + Sync,
        then: impl Fn(T) -> F + Send + Sync,
    ) -> Result<A, IntrospectError> {
        let span = tracing::debug_span!(
            "introspection",
            otel.kind = "client",
            server.address = %self.host,
            known = share == Share::Known,
            http.response.status_code = Empty,
            error.type = Empty,
        );
        let asking = async {
            let stopwatch = Stopwatch::start();
            let progress = Progress::default();
            let outcome = self
                .protection
                .run(share, &progress, || async {
                    then(self.attempt(url, form, share, &progress, &span, &read).await?).await
                })
                .await;
            let latency_ms = u64::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
            match outcome {
                Ok(answer) => {
                    tracing::debug!(latency_ms, "the authority answered");
                    Ok(answer)
                }
                Err(error) => {
                    self.report(&error, share, latency_ms, &span);
                    Err(error.reported())
                }
            }
        };
        // What is recorded goes to this span by name: where it is not wanted, the current one is somebody else's.
        asking.instrument(span.clone()).await
    }

    async fn attempt<T>(
        &self,
        url: Option<&str>,
        form: Option<&[(&str, &str)]>,
        share: Share,
        progress: &Progress,
        span: &Span,
        read: impl Fn(&Reply) -> Result<Heard<T>, IntrospectError>,
    ) -> Result<T, IntrospectError> {
        let target = self.find(progress).await?;
        let call = Call { url: url.unwrap_or(&target.url), body: form.map(Body::Form), accept: self.accept };
        let exchange_with = async |credential: &Credential| {
            self.protection.sends(progress);
            let reply = target.exchange.send(call, credential).await?;
            span.record("http.response.status_code", reply.status.as_u16());
            read(&reply)
        };
        let lease = target.credentials.current(&self.clock).await?;
        let outcome = exchange_with(&lease.credential).await;
        let is_refusal = |error: &IntrospectError| error.status() == Some(StatusCode::UNAUTHORIZED);
        let renewed = match &outcome {
            Ok(Heard::OfTheTokenOrUs(_)) => {
                progress.is_answered();
                target.credentials.instead_in_doubt(&lease, &self.clock).await
            }
            Err(error) if is_refusal(error) => {
                progress.is_answered();
                target.credentials.instead_of(&lease, &self.clock).await?
            }
            _ => None,
        };
        let heard = match renewed {
            None => outcome?,
            Some(renewed) => {
                self.protection.take_another_turn(share).await?;
                exchange_with(&renewed.credential).await?
            }
        };
        let (Heard::OfTheToken(answer) | Heard::OfTheTokenOrUs(answer)) = heard;
        Ok(answer)
    }

    /// Tells the operator. What was not even asked is said once by the breaker, and by whoever counts.
    fn report(&self, error: &IntrospectError, share: Share, latency_ms: u64, span: &Span) {
        let (kind, host) = (error.kind().as_str(), self.host.as_str());
        span.record("error.type", kind);
        if error.was_not_asked() {
            tracing::debug!(server.address = host, kind, ?error, "the authority was not asked");
            return;
        }
        let Some(untold) = self.failures.due((error.sort(), share)) else {
            tracing::debug!(server.address = host, kind, ?error, latency_ms, "the authority could not be asked");
            return;
        };
        tracing::warn!(
            server.address = host,
            kind,
            share = share.as_str(),
            ?error,
            latency_ms,
            untold,
            "the authority could not be asked"
        );
        if error.kind() == IntrospectErrorKind::Discovery && !error.is_outage() {
            tracing::error!(
                server.address = host,
                ?error,
                "what the issuer publishes was not discovered, and somebody has to change something: callers get 503 until then"
            );
        }
        // Without a status it was a login that failed, and that has told so itself.
        if error.is_credentials() && error.status().is_some() {
            // Whoever makes a token up chooses what a firewall may take for an attack.
            if share == Share::Stranger && self.protection.answers_known_tokens() {
                tracing::warn!(
                    server.address = host,
                    share = share.as_str(),
                    ?error,
                    "the authority refused this service's own credentials, or something in front of it refused the token: tokens in use are answered"
                );
                return;
            }
            tracing::error!(
                server.address = host,
                share = share.as_str(),
                ?error,
                "the authority refused this service's own credentials: check what the endpoint's builder was given, and what the account or client may do; callers get 503 until then"
            );
        }
    }
}
