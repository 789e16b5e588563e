//! What both sides of the node's HTTP share: the token, a small server, a small client.
//!
//! In: requests, one a connection, bounded in size and number, and their bodies in time. Out: JSON. Synchronous: `oxhttp`
//! serves and `ureq` asks. There is no TLS here: between machines it belongs behind a proxy that has it, as the token travels
//! with each request. The same proxy is for peers that nobody knows: headers that come byte by byte, and answers that are read
//! so, have a bound for each byte, and none for all of them.
//!
//! `oxhttp` 0.3 wants a `Host` header in requests of HTTP/1.0, too. It panics at some requests (`CONNECT a:1`), which ends their
//! connection alone: `panic = "abort"` is not for it.

use std::fmt;
use std::io;
use std::io::Read as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use oxhttp::Server;
use oxhttp::model::header::{ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use oxhttp::model::{Body, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};
use serde::Serialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

const TOKEN_VARIABLE: &str = "LLORCH_API_TOKEN";
/// The largest body of a request.
const MOST_BYTES: usize = 1 << 20;
/// The largest body of an answer: a node has more to tell when it is asked than when it reports.
const MOST_ANSWER_BYTES: u64 = 4 << 20;
/// What is read of a body that nobody wants, so that its sender comes to read the answer.
const MOST_UNWANTED_BYTES: usize = 16 << 20;
/// Connections at once; one more waits.
const MOST_CONNECTIONS: usize = 64;
/// A peer that says nothing, or does not read its answer, for so long is let go. So is one whose body takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The shared secret. It is never shown, not even in errors.
#[derive(Clone)]
pub(crate) struct Token(Arc<str>);

impl Token {
    pub(crate) fn from_env() -> Result<Self, String> {
        let token = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "{TOKEN_VARIABLE} is unset, empty, or has characters other than visible ASCII: set it to the secret that \
                 the pool managers and the orchestrator share"
            ));
        }
        Ok(Self(token.into()))
    }

    fn is_in(&self, request: &Request<Body>) -> bool {
        let given = request.headers().get(AUTHORIZATION).and_then(|header| header.as_bytes().split_at_checked(7));
        // How long it takes tells nothing of where the two differ.
        given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case(b"Bearer ") && given.trim_ascii_start().ct_eq(self.0.as_bytes()).into()
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A request, read and let in.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// The segments of the path, decoded.
    pub(crate) path: Vec<String>,
    #[allow(dead_code)] // Only one of the two sides is sent anything.
    query: String,
    #[allow(dead_code)]
    pub(crate) body: Vec<u8>,
}

impl Call {
    /// What routes are matched by: `("GET", ["v2", "pools"])`.
    pub(crate) fn route(&self) -> (&str, Vec<&str>) {
        (&self.method, self.path.iter().map(String::as_str).collect())
    }

    /// What the query says of this name, as it stands there.
    #[allow(dead_code)]
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.query.split('&').filter_map(|parameter| parameter.split_once('='));
        parameters.find_map(|(key, value)| (key == name).then_some(value))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    content_type: &'static str,
    /// The methods that there are, where it was another.
    allow: Option<&'static str>,
    body: String,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_string(body) {
            Ok(body) => Self { status, content_type: "application/json", allow: None, body },
            Err(error) => Self::error(500, format!("cannot serialise the answer: {error}")),
        }
    }

    pub(crate) fn error(status: u16, what: impl fmt::Display) -> Self {
        let body = json!({ "error": what.to_string() }).to_string();
        Self { status, content_type: "application/json", allow: None, body }
    }

    /// The text exposition format of Prometheus.
    #[allow(dead_code)] // Only one of the two sides has figures.
    pub(crate) fn metrics(body: String) -> Self {
        Self { status: 200, content_type: "text/plain; version=0.0.4", allow: None, body }
    }

    pub(crate) fn not_found() -> Self {
        Self::error(404, "there is nothing of this path")
    }

    /// Nor is there `HEAD`: the server knows no answer whose length is that of a body which it does not send.
    pub(crate) fn not_allowed(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::error(405, format!("expected another method for this path: {allow}")) }
    }
}

/// An address that is taken, before anything is served there.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) local: SocketAddr,
    /// Bound, and not listening: it keeps the port for the server that does.
    reserved: OwnedFd,
}

/// Port 0 takes a free one.
pub(crate) fn listen(address: &str) -> Result<Listener, String> {
    let reserve = || -> io::Result<Listener> {
        let address = address.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the name has no address"))?;
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let reserved = socket(family, SocketType::STREAM, None)?;
        sockopt::set_socket_reuseaddr(&reserved, true)?;
        bind(&reserved, &address)?;
        Ok(Listener { local: getsockname(&reserved)?.try_into()?, reserved })
    };
    reserve().map_err(|error| {
        format!("cannot listen on {address}: {error}; `ss -ltnp` shows who does, --listen chooses another address")
    })
}

/// Answers requests, each on a thread of its own, for as long as the process lives. What is below `/v2` needs the token;
/// health and metrics do not.
pub(crate) fn serve(
    listener: Listener,
    token: Token,
    answer: impl Fn(&Call) -> Reply + Send + Sync + 'static,
) -> Result<(), String> {
    let server = Server::new(move |request| handle(request, &token, &answer).into())
        .bind(listener.local)
        .with_global_timeout(PATIENCE)
        .with_max_concurrent_connections(MOST_CONNECTIONS)
        .spawn()
        .map_err(|error| format!("cannot serve HTTP on {}: {error}", listener.local))?;
    drop(listener.reserved);
    let watch = move || {
        let _ = server.join();
        // What cannot be asked is as good as dead: whoever supervises this process starts it anew.
        log::error!("the HTTP server ended");
        std::process::exit(1);
    };
    let spawned = thread::Builder::new().name("http".into()).spawn(watch);
    spawned.map(drop).map_err(|error| format!("cannot start the thread for HTTP: {error}"))
}

fn handle(request: &mut Request<Body>, token: &Token, answer: &dyn Fn(&Call) -> Reply) -> Reply {
    let until = Instant::now() + PATIENCE;
    let mut reply = admit(request, token, until, answer);
    if request.method() == Method::HEAD {
        reply.body.clear();
    }
    // A connection that is closed upon bytes that nobody has read may take the answer with it.
    let _ = pour(request.body_mut(), MOST_UNWANTED_BYTES, until, |_| {});
    // The server would read what is left, however much, and looks here whether the connection goes on. It does not: idle ones
    // would use up those that there may be.
    *request.body_mut() = Body::empty();
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

fn admit(request: &mut Request<Body>, token: &Token, until: Instant, answer: &dyn Fn(&Call) -> Reply) -> Reply {
    let path = request.uri().path().split('/').skip(1);
    let path = path.map(|segment| percent_decode_str(segment).decode_utf8().map(String::from));
    let Ok(path) = path.collect::<Result<Vec<_>, _>>() else { return Reply::error(400, "the path is not UTF-8") };
    // Before anything of the body is read.
    if path.first().is_some_and(|first| first == "v2") && !token.is_in(request) {
        return Reply::error(401, format!("expected `Authorization: Bearer` and {TOKEN_VARIABLE}"));
    }
    let method = request.method().to_string();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let mut body = Vec::new();
    match pour(request.body_mut(), MOST_BYTES, until, |part| body.extend_from_slice(part)) {
        Ok(()) => answer(&Call { method, path, query, body }),
        Err(refusal) => refusal,
    }
}

/// A body to its end, if that comes before so many bytes and before it is too late.
fn pour(body: &mut Body, most: usize, until: Instant, mut take: impl FnMut(&[u8])) -> Result<(), Reply> {
    let late = || Reply::error(408, format!("the body did not end within {} s", PATIENCE.as_secs()));
    let (mut part, mut poured) = ([0; 8192], 0);
    while Instant::now() < until {
        match body.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                poured += read;
                if poured > most {
                    return Err(Reply::error(413, format!("expected at most {most} bytes")));
                }
                take(&part[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(late());
            }
            Err(error) => {
                // Where it would go on is not known: whoever waits for its end waits for what may never come.
                *body = Body::empty();
                return Err(Reply::error(400, format!("cannot read the body: {error}")));
            }
        }
    }
    Err(late())
}

impl From<Reply> for Response<Body> {
    fn from(reply: Reply) -> Self {
        let mut response = Self::new(Body::from(reply.body));
        *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // What tells a client that the connection ends: the server sends no `Connection` header.
        *response.version_mut() = Version::HTTP_10;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        if let Some(allow) = reply.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if reply.status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Asks the other side, with the token.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    token: Token,
}

impl Client {
    /// `timeout` is for a whole request, from the name to the last byte of the answer: nothing hangs longer.
    pub(crate) fn new(token: Token, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            // The token goes where it was meant to go: not to a proxy of the environment, not to where an answer points.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            // A connection that was kept may lead to a process that is no more.
            .max_idle_connections(0)
            .build();
        Self { agent: config.new_agent(), token }
    }

    /// The status and the body, whatever the status is; the body is `null` where it is not JSON.
    pub(crate) fn ask(&self, method: &str, url: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
        let failed = |error: &dyn fmt::Display| format!("{method} {url}: {error}");
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.0));
        let mut bearer = bearer.map_err(|_| failed(&"the token is no header"))?;
        // So that the client does not show it; what it logs of the bytes that it sends, `logging` keeps to itself.
        bearer.set_sensitive(true);
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(url)
            .header("Authorization", bearer)
            .header("Content-Type", "application/json");
        let answer = match body {
            Some(body) => self.agent.run(request.body(body.to_string()).map_err(|error| failed(&error))?),
            None => self.agent.run(request.body(()).map_err(|error| failed(&error))?),
        };
        let answer = answer.map_err(|error| failed(&error))?;
        let status = answer.status().as_u16();
        let text = answer.into_body().into_with_config().limit(MOST_ANSWER_BYTES).read_to_string();
        let text = text.map_err(|error| failed(&error))?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }
}

/// One segment of a path, whatever is in it.
#[allow(dead_code)] // Only one of the two sides has ids to put there.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Whether it is where an HTTP server may be that this client can reach: without a secret in it, which would end in logs.
pub(crate) fn check_url(what: &str, url: &str) -> Result<(), String> {
    let is_fine = |uri: Uri| {
        let Some(authority) = uri.authority() else { return false };
        let is_port = authority.port_u16().is_some() || authority.as_str() == authority.host();
        // A fragment is forgotten when it is parsed.
        let is_plain = uri.query().is_none() && !url.contains(['@', '#']);
        uri.scheme_str() == Some("http") && !authority.host().is_empty() && is_port && is_plain
    };
    if url.parse().is_ok_and(is_fine) {
        return Ok(());
    }
    let hint = match url.starts_with("https://") {
        true => "; for TLS, name a proxy that speaks TLS for this side, or build `ureq` with its feature `rustls`",
        false => "",
    };
    Err(format!("{what}: expected http://HOST:PORT, found {:?}{hint}", without_secrets(url)))
}

/// A URL for people to read: without user, password and query, also where it is none.
pub(crate) fn without_secrets(url: &str) -> String {
    let (hidden, rest) = url.rsplit_once('@').map_or(("", url), |(_, rest)| ("…@", rest));
    let shown = rest.find(['?', '#']).map_or(rest.to_owned(), |end| format!("{}…", &rest[..end]));
    format!("{hidden}{shown}")
}
