//! The methods that a policy has in common with the builders of layers.

/// The builder methods for a [`Policy`]; `$policy` is the way from `self` to it.
macro_rules! policy_settings {
    ($($policy:tt)+) => {
        /// Requires a scope. Called several times, it requires all of them.
        pub fn require_scope(mut self, scope: impl Into<String>) -> Self {
            self.$($policy)+.add("require_scope", $crate::policy::Fact::Scope, [scope]);
            self
        }

        /// Requires at least one of these scopes. Called several times, it requires one of each call's. A challenge
        /// names all of them: it has no way to say that one is enough.
        pub fn require_any_scope<T: Into<String>>(mut self, scopes: impl IntoIterator<Item = T>) -> Self {
            self.$($policy)+.add("require_any_scope", $crate::policy::Fact::Scope, scopes);
            self
        }

        /// Requires that the token is meant for this service: that its audience holds this value. A token without an
        /// audience is refused. **Set this (or the next) wherever the authority also serves other services**, since any
        /// of their tokens is active too. A token that fails it is
        /// [`InvalidToken`](crate::rejection::RejectionKind::InvalidToken).
        pub fn require_audience(mut self, audience: impl Into<String>) -> Self {
            self.$($policy)+.add("require_audience", $crate::policy::Fact::Audience, [audience]);
            self
        }

        /// Requires that the token's audience holds at least one of these values.
        pub fn require_any_audience<T: Into<String>>(mut self, audiences: impl IntoIterator<Item = T>) -> Self {
            self.$($policy)+.add("require_any_audience", $crate::policy::Fact::Audience, audiences);
            self
        }

        /// Requires that the token states this issuer (`iss`), compared to the letter. A token has one issuer, so this
        /// cannot be called with two. A token that fails it is
        /// [`InvalidToken`](crate::rejection::RejectionKind::InvalidToken). The issuer is what the server that was
        /// asked claims: it is worth as much as that server, and says nothing about which one was asked.
        pub fn require_issuer(mut self, issuer: impl Into<String>) -> Self {
            self.$($policy)+.add("require_issuer", $crate::policy::Fact::Issuer, [issuer]);
            self
        }

        /// Requires that the token states one of these issuers.
        pub fn require_any_issuer<T: Into<String>>(mut self, issuers: impl IntoIterator<Item = T>) -> Self {
            self.$($policy)+.add("require_any_issuer", $crate::policy::Fact::Issuer, issuers);
            self
        }

        /// Requires that the token was issued to this client. A token has one client, so this cannot be called with
        /// two. A token that fails it is [`Denied`](crate::rejection::RejectionKind::Denied).
        pub fn require_client(mut self, client_id: impl Into<String>) -> Self {
            self.$($policy)+.add("require_client", $crate::policy::Fact::Client, [client_id]);
            self
        }

        /// Requires that the token was issued to one of these clients.
        pub fn require_any_client<T: Into<String>>(mut self, client_ids: impl IntoIterator<Item = T>) -> Self {
            self.$($policy)+.add("require_any_client", $crate::policy::Fact::Client, client_ids);
            self
        }

        /// Requires that the token may use this API product (Apigee). Called several times, it requires all of them. A
        /// token whose products are unknown is refused. A token that fails it is
        /// [`Denied`](crate::rejection::RejectionKind::Denied).
        pub fn require_api_product(mut self, product: impl Into<String>) -> Self {
            self.$($policy)+.add("require_api_product", $crate::policy::Fact::ApiProduct, [product]);
            self
        }

        /// Requires that the token may use at least one of these API products (Apigee).
        pub fn require_any_api_product<T: Into<String>>(mut self, products: impl IntoIterator<Item = T>) -> Self {
            self.$($policy)+.add("require_any_api_product", $crate::policy::Fact::ApiProduct, products);
            self
        }

        /// Requires that the user logged in, for this token, in one of these ways: that the token's
        /// [`acr`](crate::AccessToken::acr) is one of these values, compared to the letter. Name the one you prefer
        /// first: the authorization server is asked for them in this order. A token has one, so called several times,
        /// this requires a value that all calls name.
        ///
        /// A token that fails it, or that states none, is
        /// [`InsufficientUserAuthentication`](crate::rejection::RejectionKind::InsufficientUserAuthentication): a
        /// client is told to have its user log in so, RFC 9470. The authority has to state `acr`; Apigee does not.
        ///
        /// ```
        /// # use tower_introspection::Policy;
        /// let transfers = Policy::new().require_acr(["phishing-resistant", "two-factors"]);
        /// # transfers.check()?;
        /// # Ok::<(), tower_introspection::BuildError>(())
        /// ```
        pub fn require_acr<T: Into<String>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
            self.$($policy)+.add("require_acr", $crate::policy::Fact::Acr, values);
            self
        }

        /// Requires that the user logged in, for this token, at most `max_age` ago, by the token's
        /// [`auth_time`](crate::AccessToken::auth_time). It is judged on every request, so a token that came in may be
        /// refused a moment later. One that is up to 5 seconds ahead of the clock here counts as now, since clocks
        /// differ; one further ahead is no time of a login. Called several times, it requires the least.
        ///
        /// In whole seconds and one at least, since the challenge says so; of OpenID's `max_age=0`, which asks for a
        /// login now, time has always passed when a request comes. A refreshed token may have the `auth_time` of the
        /// login before.
        ///
        /// A token that fails it, or that states none, is
        /// [`InsufficientUserAuthentication`](crate::rejection::RejectionKind::InsufficientUserAuthentication): a
        /// client is told to have its user log in again, RFC 9470. The authority has to state `auth_time`; Apigee does
        /// not.
        ///
        /// ```
        /// # use std::time::Duration;
        /// # use tower_introspection::Policy;
        /// let payments = Policy::new().require_recent_login(Duration::from_secs(300));
        /// # payments.check()?;
        /// # Ok::<(), tower_introspection::BuildError>(())
        /// ```
        pub fn require_recent_login(mut self, max_age: std::time::Duration) -> Self {
            self.$($policy)+.push($crate::policy::Requirement::RecentLogin($crate::policy::RecentLogin::within(max_age)));
            self
        }

        /// Requires that the token is bound to a key of its holder, by DPoP or by a client certificate: a bearer token
        /// will not do here. One that is none is [`InvalidToken`](crate::rejection::RejectionKind::InvalidToken). That
        /// the caller holds the key is proved for every bound token, whether this is called or not.
        #[cfg(any(feature = "certificate-bound", feature = "dpop"))]
        pub fn require_sender_constrained(mut self) -> Self {
            let (setting, none): (_, [&str; 0]) = ("require_sender_constrained", []);
            self.$($policy)+.add(setting, $crate::policy::Fact::SenderConstrained, none);
            self
        }

        /// Requires that `rule` is true of the token and the request. Rules are asked after everything else is met;
        /// several must all be true. A request that fails one is [`Denied`](crate::rejection::RejectionKind::Denied).
        ///
        /// A rule that compares a fact with a part of the request has to say what holds when neither is there, or `None
        /// == None` lets everybody in. What the rule sees of the request is what the caller sent:
        /// [`RequestView`](crate::RequestView).
        pub fn authorize(
            mut self,
            rule: impl Fn(&$crate::token::AccessToken, &$crate::request::RequestView<'_>) -> bool + Send + Sync + 'static,
        ) -> Self {
            self.$($policy)+.push($crate::policy::Requirement::Rule(std::sync::Arc::new(rule)));
            self
        }

        /// Requires `policy` too, of requests with this method. One for `GET` holds for `HEAD` as well, unless `HEAD`
        /// has one of its own: routers answer both with the same handler.
        ///
        /// Like every requirement it binds requests with a token. Below an optional layer use
        /// [`require`](crate::IntrospectionLayer::require), whose layer wants one.
        pub fn for_method(mut self, method: http::Method, policy: $crate::policy::Policy) -> Self {
            self.$($policy)+.push($crate::policy::Requirement::Nested($crate::policy::When::Method(method), policy));
            self
        }

        /// Requires `policy` too, of requests with a method that no [`for_method`](Self::for_method) names. Without
        /// this nothing further is required of them.
        pub fn for_other_methods(mut self, policy: $crate::policy::Policy) -> Self {
            self.$($policy)+.push($crate::policy::Requirement::Nested($crate::policy::When::OtherMethods, policy));
            self
        }

        /// Requires all that `policy` requires, too.
        pub fn policy(mut self, policy: $crate::policy::Policy) -> Self {
            self.$($policy)+.push($crate::policy::Requirement::Nested($crate::policy::When::Always, policy));
            self
        }
    };
}
pub(crate) use policy_settings;
