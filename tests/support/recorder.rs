//! A server that records what it is sent and answers what it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};

#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub uri: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    /// The parameters of a form.
    pub fn form(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    pub fn parameter(&self, name: &str) -> Option<String> {
        self.form().into_iter().find(|(stated, _)| stated == name).map(|(_, value)| value)
    }
}

type Requests = Arc<Mutex<Vec<Seen>>>;

pub struct Recorder {
    requests: Requests,
    url: String,
}

impl Recorder {
    /// `answer` gets the number of the request, from 1, and the request.
    pub async fn start<T: Into<String>>(answer: impl Fn(usize, &Seen) -> (u16, T) + Send + Sync + 'static) -> Self {
        Self::serve(move |n, seen| {
            let (status, body) = answer(n, seen);
            (StatusCode::from_u16(status).unwrap(), HeaderMap::new(), body.into())
        })
        .await
    }

    /// A token endpoint at `path`, which hands out `login-1`, `login-2` and so on with a refresh token each, for half
    /// an hour; everywhere else it answers `otherwise`. What `refused` says gets 401.
    pub async fn with_token_endpoint(
        path: &'static str,
        otherwise: &'static str,
        refused: impl Fn(&Seen) -> bool + Send + Sync + 'static,
    ) -> Self {
        let logins = AtomicUsize::new(0);
        Self::start(move |_, seen| {
            if refused(seen) {
                return (401, r#"{"error":"invalid_client"}"#.to_owned());
            }
            if seen.uri != path {
                return (200, otherwise.to_owned());
            }
            let n = logins.fetch_add(1, Ordering::SeqCst) + 1;
            let tokens = format!(r#""access_token":"login-{n}","refresh_token":"refresh-{n}""#);
            (200, format!(r#"{{{tokens},"expires_in":1800,"token_type":"Bearer"}}"#))
        })
        .await
    }

    pub async fn redirecting_to(target: String) -> Self {
        Self::serve(move |_, _| {
            let mut headers = HeaderMap::new();
            headers.insert("location", target.parse().unwrap());
            (StatusCode::TEMPORARY_REDIRECT, headers, String::new())
        })
        .await
    }

    /// Answers everything with 200, this content type and this body.
    pub async fn answering_as(content_type: &'static str, body: &'static str) -> Self {
        Self::answering_with(http::header::CONTENT_TYPE, content_type, body).await
    }

    /// Answers everything with 200, this header and this body.
    pub async fn answering_with(header: HeaderName, value: &'static str, body: &'static str) -> Self {
        let headers: HeaderMap = [(header, value.parse().unwrap())].into_iter().collect();
        Self::serve(move |_, _| (StatusCode::OK, headers.clone(), body.to_owned())).await
    }

    async fn serve(answer: impl Fn(usize, &Seen) -> (StatusCode, HeaderMap, String) + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        let requests = Requests::default();
        let app =
            Router::new()
                .fallback(
                    move |State(requests): State<Requests>,
                          method: Method,
                          uri: Uri,
                          headers: HeaderMap,
                          body: Bytes| async move {
                        let body = String::from_utf8(body.to_vec()).unwrap();
                        let seen = Seen { method, uri: uri.to_string(), headers, body };
                        let mut requests = requests.lock().unwrap();
                        requests.push(seen.clone());
                        answer(requests.len(), &seen).into_response()
                    },
                )
                .with_state(Arc::clone(&requests));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { requests, url }
    }

    /// Without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.requests.lock().unwrap().clone()
    }

    pub fn authorizations(&self) -> Vec<String> {
        self.requests().iter().map(|seen| seen.headers["authorization"].to_str().unwrap().to_owned()).collect()
    }
}
