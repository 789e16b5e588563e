//! What both sides of the node's HTTP share: the token, a small server, a small client.
//!
//! In: requests, bounded in size, number and time. Out: JSON. Synchronous: `oxhttp` serves and `ureq` asks. There is no
//! TLS here: between machines it belongs behind a proxy that has it, as the token travels with each request.

use std::fmt;
use std::io;
use std::io::Read as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use oxhttp::Server;
use oxhttp::model::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use oxhttp::model::{Body, HeaderValue, Request, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};
use serde::Serialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

const TOKEN_VARIABLE: &str = "LLORCH_API_TOKEN";
/// The largest body that is read, of requests and of answers.
const MOST_BYTES: u64 = 1 << 20;
/// Connections at once; one more waits.
const MOST_CONNECTIONS: usize = 64;
/// A peer that says nothing, or does not read its answer, for so long is let go.
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
        let given = request.headers().get(AUTHORIZATION).and_then(|header| header.as_bytes().strip_prefix(b"Bearer "));
        // How long it takes tells nothing of where the two differ.
        given.is_some_and(|given| given.ct_eq(self.0.as_bytes()).into())
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
    pub(crate) body: Vec<u8>,
}

impl Call {
    /// What routes are matched by: `("GET", ["v2", "pools"])`.
    pub(crate) fn route(&self) -> (&str, Vec<&str>) {
        (&self.method, self.path.iter().map(String::as_str).collect())
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    content_type: &'static str,
    body: String,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_string(body) {
            Ok(body) => Self { status, content_type: "application/json", body },
            Err(error) => Self::error(500, format!("cannot serialise the answer: {error}")),
        }
    }

    pub(crate) fn error(status: u16, what: impl fmt::Display) -> Self {
        Self { status, content_type: "application/json", body: json!({ "error": what.to_string() }).to_string() }
    }

    /// The text exposition format of Prometheus.
    #[allow(dead_code)] // Only one of the two sides has figures.
    pub(crate) fn metrics(body: String) -> Self {
        Self { status: 200, content_type: "text/plain; version=0.0.4", body }
    }

    pub(crate) fn not_found() -> Self {
        Self::error(404, "there is nothing of this method and path")
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
    let path = request.uri().path().split('/').skip(1);
    let path = path.map(|segment| percent_decode_str(segment).decode_utf8().map(String::from));
    let Ok(path) = path.collect::<Result<Vec<_>, _>>() else { return Reply::error(400, "the path is not UTF-8") };
    // Before anything of the body is read.
    if path.first().is_some_and(|first| first == "v2") && !token.is_in(request) {
        return Reply::error(401, format!("expected `Authorization: Bearer` and {TOKEN_VARIABLE}"));
    }
    let method = request.method().to_string();
    let mut body = Vec::new();
    match request.body_mut().take(MOST_BYTES + 1).read_to_end(&mut body) {
        Ok(read) if read as u64 > MOST_BYTES => Reply::error(413, format!("expected at most {MOST_BYTES} bytes")),
        Ok(_) => answer(&Call { method, path, body }),
        Err(error) => Reply::error(400, format!("cannot read the body: {error}")),
    }
}

impl From<Reply> for Response<Body> {
    fn from(reply: Reply) -> Self {
        let mut response = Self::new(Body::from(reply.body));
        *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        // Idle connections would use up those that there may be.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
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
        // So that no log of the client shows it either, however much it is asked to tell.
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
        let text = answer.into_body().into_with_config().limit(MOST_BYTES).read_to_string();
        let text = text.map_err(|error| failed(&error))?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }
}

/// One segment of a path, whatever is in it.
#[allow(dead_code)] // Only one of the two sides has ids to put there.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Whether it is where an HTTP server may be: without a secret in it, which would end in logs.
pub(crate) fn check_url(what: &str, url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let fine = |rest: &str| !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']) && !rest.starts_with('/');
    if rest.is_some_and(fine) { Ok(()) } else { Err(format!("{what}: expected http://HOST:PORT, found {url:?}")) }
}
