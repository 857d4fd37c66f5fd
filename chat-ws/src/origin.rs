//! Which web pages may connect.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// Which web pages may connect. A browser sends the cookies of a site to whoever opens a WebSocket to it, so a server that goes by
/// cookies has to look at the page's origin.
///
/// By default a page has to come from the host that it connects to. A request without an `Origin` header is not a
/// browser's, and is always allowed. An `Origin` that is none (`null`, empty, given twice) is that of no page that could be
/// listed: only [`any`](Self::any) lets it in.
///
/// ```
/// # use roomcast_ws::Origins;
/// let mine = Origins::only(["https://chat.example", "https://admin.example:8443"])?;
/// # Ok::<(), roomcast_ws::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Rule);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Rule {
    #[default]
    Same,
    SameAt(Vec<String>),
    Any,
    Only(Vec<String>),
}

/// Text that is no origin as browsers write it. Says which and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin:?} is no origin: {what}")]
pub struct InvalidOrigin {
    origin: String,
    what: &'static str,
}

impl Origins {
    /// Pages of the same host and port as the request's `Host` header names. The default.
    ///
    /// This takes the `Host` header's word for who the server is. That keeps other sites' pages out as long as
    /// the server can't be reached under a name of theirs. A server on a private address can: a page of `evil.example`
    /// whose owner has that name point at `127.0.0.1` for a while is of the same origin as what it then reaches ("DNS rebinding"). No
    /// cookies of yours go along, so a server with a login is safe; one that trusts whoever reaches it should take
    /// [`same_at`](Self::same_at) or [`only`](Self::only).
    ///
    /// A [`Listener`](crate::Listener) with TLS lets `https` pages in and no `http` ones. Otherwise the scheme is not looked at, because
    /// a proxy may have ended TLS before the server; there, `only` is stricter.
    #[must_use]
    pub fn same() -> Self {
        Self(Rule::Same)
    }

    /// As [`same`](Self::same), if the `Host` header names one of these, whatever the port: host names or addresses as
    /// they stand in an address bar (`localhost`, `127.0.0.1`, `[::1]`).
    #[must_use]
    pub fn same_at(hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.as_ref().to_ascii_lowercase());
        Self(Rule::SameAt(hosts.collect()))
    }

    /// All pages. Right where identity doesn't hang on cookies.
    #[must_use]
    pub fn any() -> Self {
        Self(Rule::Any)
    }

    /// Whether a request with these headers may connect, as far as its origin goes: for routes of your own beside the chat's,
    /// which go by the same cookies.
    ///
    /// ```
    /// # use http::{HeaderMap, header::{HOST, ORIGIN}};
    /// # use roomcast_ws::Origins;
    /// let mut headers = HeaderMap::new();
    /// assert!(Origins::same().allows(&headers), "no browser");
    /// headers.insert(HOST, "chat.example".parse()?);
    /// headers.insert(ORIGIN, "https://evil.example".parse()?);
    /// assert!(!Origins::same().allows(&headers));
    /// headers.insert(ORIGIN, "https://chat.example".parse()?);
    /// assert!(Origins::same().allows(&headers));
    /// # Ok::<(), http::header::InvalidHeaderValue>(())
    /// ```
    #[must_use]
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        self.allow(&Page::of(headers), false)
    }

    /// Pages of these origins and no others, the server's own included only if it is listed. Written as browsers do,
    /// `https://chat.example`; letter case, a default port and a slash at the end make no difference. An empty list lets no page in.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin`] for what could never match: no scheme, no host, a path, `*`.
    pub fn only(origins: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, InvalidOrigin> {
        let origins = origins.into_iter().map(|origin| {
            let text = origin.as_ref();
            normal(text).map_err(|what| InvalidOrigin {
                origin: text.to_owned(),
                what,
            })
        });
        origins
            .collect::<Result<_, _>>()
            .map(|origins| Self(Rule::Only(origins)))
    }

    /// Whether the page may connect. `tls`: the server itself speaks it.
    pub(crate) fn allow(&self, page: &Page, tls: bool) -> bool {
        let same = |origin: &str| !tls || origin.starts_with("https://");
        match (&self.0, page) {
            (_, Page::None) | (Rule::Any, _) => true,
            (_, Page::Malformed) => false,
            (Rule::Same, Page::Some { origin, host }) => host.is_some() && same(origin),
            (Rule::SameAt(hosts), Page::Some { origin, host }) => {
                host.as_ref().is_some_and(|host| hosts.contains(host)) && same(origin)
            }
            (Rule::Only(origins), Page::Some { origin, .. }) => origins.contains(origin),
        }
    }
}

/// The page that a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// None: no browser asks.
    None,
    /// Something that is no origin.
    Malformed,
    Some {
        origin: String,
        /// The host that the request names, without its port, if it is that of the origin.
        host: Option<String>,
    },
}

impl Page {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(first) = origins.next() else {
            return Self::None;
        };
        let (Ok(text), None) = (first.to_str(), origins.next()) else {
            return Self::Malformed;
        };
        let Ok(origin) = normal(text) else {
            return Self::Malformed;
        };
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (origin.split_once("://"), hosts.next(), hosts.next()) {
            (Some((scheme, authority)), Some(host), None) => host
                .to_str()
                .is_ok_and(|host| without_port(scheme, &host.to_ascii_lowercase()) == authority)
                .then(|| name(authority).to_owned()),
            _ => None,
        };
        Self::Some { origin, host }
    }
}

/// Lower case, without a default port or a slash at the end; or what is wrong with it.
fn normal(origin: &str) -> Result<String, &'static str> {
    let origin = origin.trim().to_ascii_lowercase();
    if origin.contains('*') {
        return Err("each origin has to be named; there are no patterns");
    }
    let Some((scheme, authority)) = origin.split_once("://") else {
        return Err("it begins with no scheme, as in https://chat.example");
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let is_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
        return Err("it begins with no scheme, as in https://chat.example");
    }
    if name(authority).is_empty() {
        return Err("it names no host");
    }
    if authority.contains(['/', '?', '#', '@']) {
        return Err("an origin is scheme, host and port alone");
    }
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    if !authority.bytes().all(is_host) {
        return Err("its host holds a character that no host has; a name in other letters is written as xn--…");
    }
    Ok(format!("{scheme}://{}", without_port(scheme, authority)))
}

/// The host without its port.
fn name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// Takes the scheme's default port off. The `Host` header is compared under the origin's scheme: behind a proxy that ends
/// TLS, the server doesn't know its own.
fn without_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(origins: &[&str], hosts: &[&str]) -> Page {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, http::HeaderValue::from_bytes(origin.as_bytes()).unwrap());
        }
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        Page::of(&headers)
    }

    #[test]
    fn the_same_origin_is_the_same_host_and_port() {
        let same = Origins::default();
        let allowed = [
            ("https://chat.example", "chat.example"),
            ("https://chat.example", "chat.example:443"),
            ("https://chat.example:443", "chat.example"),
            ("http://chat.example:80", "CHAT.example"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://[::1]", "[::1]:80"),
        ];
        for (origin, host) in allowed {
            assert!(same.allow(&page(&[origin], &[host]), false), "{origin} {host}");
        }
        let refused = [
            ("https://evil.example", "chat.example"),
            ("https://chat.example.evil", "chat.example"),
            ("https://chat.example:8443", "chat.example"),
            ("http://chat.example", "chat.example:443"),
            ("null", "chat.example"),
            ("", "chat.example"),
            ("https://", ""),
            ("chat.example", "chat.example"),
        ];
        for (origin, host) in refused {
            assert!(!same.allow(&page(&[origin], &[host]), false), "{origin} {host}");
        }
        assert!(same.allow(&page(&[], &["chat.example"]), false), "not a browser");
        assert!(!same.allow(&page(&["https://a"], &[]), false), "no host");
        assert!(
            !same.allow(&page(&["https://a", "https://a"], &["a"]), false),
            "two origins"
        );
        assert!(!same.allow(&page(&["https://a"], &["a", "a"]), false), "two hosts");
    }

    #[test]
    fn behind_tls_the_same_origin_is_https() {
        for (origin, tls, expected) in [
            ("https://chat.example", true, true),
            ("http://chat.example", true, false),
            ("http://chat.example", false, true),
        ] {
            let page = page(&[origin], &["chat.example"]);
            assert_eq!(Origins::same().allow(&page, tls), expected, "{origin} {tls}");
            assert_eq!(Origins::same_at(["chat.example"]).allow(&page, tls), expected);
        }
    }

    #[test]
    fn the_names_of_the_server_may_be_listed() {
        let here = Origins::same_at(["localhost", "[::1]"]);
        for (origin, host, expected) in [
            ("http://localhost:8080", "LOCALHOST:8080", true),
            ("http://[::1]", "[::1]", true),
            ("http://evil.example:8080", "evil.example:8080", false),
            ("http://evil.example", "localhost", false),
        ] {
            assert_eq!(
                here.allow(&page(&[origin], &[host]), false),
                expected,
                "{origin} {host}"
            );
        }
    }

    #[test]
    fn a_list_is_exact() {
        let list = Origins::only(["https://Chat.example:443/", "tauri://localhost"]).unwrap();
        assert!(list.allow(&page(&["https://chat.example"], &["other"]), false));
        assert!(list.allow(&page(&["tauri://localhost"], &["other"]), false));
        assert!(list.allow(&page(&[], &["other"]), false));
        assert!(!list.allow(&page(&["http://chat.example"], &["other"]), false));
        assert!(
            !list.allow(&page(&["https://other"], &["other"]), false),
            "its own origin isn't listed"
        );
        assert!(!list.allow(
            &page(&["https://chat.example", "https://chat.example"], &["other"]),
            false
        ));
    }

    #[test]
    fn what_is_no_origin_is_let_in_by_nobody_but_any() {
        let lists = [
            Origins::same(),
            Origins::same_at(["x", ""]),
            Origins::only([""; 0]).unwrap(),
            Origins::only(["https://x"]).unwrap(),
        ];
        let pages = [
            &[""][..],
            &["null"],
            &["http://\u{fc}"],
            &["http://x", "http://x"],
            &["http://"],
            &["*"],
        ];
        for origins in pages {
            let page = page(origins, &["x"]);
            assert_eq!(page, Page::Malformed, "{origins:?}");
            for list in &lists {
                assert!(!list.allow(&page, false), "{origins:?} {list:?}");
            }
            assert!(Origins::any().allow(&page, false));
        }
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for wrong in [
            "",
            "*",
            "null",
            "chat.example",
            "://x",
            "https://",
            "https://:443",
            "https://chat.example/chat",
            "https://*.example",
            "https://ann@chat.example",
            "https://bücher.example",
            "https://a.example https://b.example",
        ] {
            let error = Origins::only([wrong]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{wrong:?} is no origin: ")), "{error}");
        }
    }
}
