//! Which web pages may connect.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// Which web pages may connect. A browser sends the cookies of a site to whoever opens a WebSocket to it, so a server that goes by
/// cookies has to look at the page's origin.
///
/// By default a page has to come from the host that it connects to. A request without an `Origin` header is not a
/// browser's, and is always allowed.
///
/// ```
/// # use roomcast_ws::Origins;
/// let mine = Origins::only(["https://chat.example", "https://admin.example:8443"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Rule);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Rule {
    #[default]
    Same,
    Any,
    Only(Vec<String>),
}

impl Origins {
    /// Pages of the same host and port as the request's `Host` header names. The default.
    #[must_use]
    pub fn same() -> Self {
        Self(Rule::Same)
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
        self.allow(&Page::of(headers))
    }

    /// Pages of these origins and no others, the server's own included only if it is listed. Written as browsers do,
    /// `https://chat.example`; letter case and a default port make no difference. `*` is [`any`](Self::any).
    #[must_use]
    pub fn only(origins: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let origins: Vec<_> = origins.into_iter().map(|origin| normal(origin.as_ref())).collect();
        if origins.iter().any(|origin| origin == "*") {
            return Self::any();
        }
        Self(Rule::Only(origins))
    }

    pub(crate) fn allow(&self, page: &Page) -> bool {
        match (&self.0, page) {
            (_, Page::None) | (Rule::Any, _) => true,
            (Rule::Same, Page::Some { same_host, .. }) => *same_host,
            (Rule::Only(origins), Page::Some { origin, .. }) => origins.contains(origin),
        }
    }
}

/// The page that a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    None,
    Some { origin: String, same_host: bool },
}

impl Page {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(first) = origins.next() else {
            return Self::None;
        };
        let origin = match (first.to_str(), origins.next()) {
            (Ok(text), None) => normal(text),
            // Nothing that a browser sends. It equals no origin.
            _ => String::new(),
        };
        let mut hosts = headers.get_all(HOST).iter();
        let same_host = match (origin.split_once("://"), hosts.next(), hosts.next()) {
            (Some((scheme, authority)), Some(host), None) => host
                .to_str()
                .is_ok_and(|host| !host.is_empty() && without_port(scheme, &host.to_ascii_lowercase()) == authority),
            _ => false,
        };
        Self::Some { origin, same_host }
    }
}

/// Lower case, without a default port or a slash at the end.
fn normal(origin: &str) -> String {
    let origin = origin.trim().trim_end_matches('/').to_ascii_lowercase();
    match origin.split_once("://") {
        Some((scheme, authority)) => format!("{scheme}://{}", without_port(scheme, authority)),
        None => origin,
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
            headers.append(ORIGIN, origin.parse().unwrap());
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
            assert!(same.allow(&page(&[origin], &[host])), "{origin} {host}");
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
            assert!(!same.allow(&page(&[origin], &[host])), "{origin} {host}");
        }
        assert!(same.allow(&page(&[], &["chat.example"])), "not a browser");
        assert!(!same.allow(&page(&["https://a"], &[])), "no host");
        assert!(!same.allow(&page(&["https://a", "https://a"], &["a"])), "two origins");
        assert!(!same.allow(&page(&["https://a"], &["a", "a"])), "two hosts");
    }

    #[test]
    fn a_list_is_exact() {
        let list = Origins::only(["https://Chat.example:443/", "tauri://localhost"]);
        assert!(list.allow(&page(&["https://chat.example"], &["other"])));
        assert!(list.allow(&page(&["tauri://localhost"], &["other"])));
        assert!(list.allow(&page(&[], &["other"])));
        assert!(!list.allow(&page(&["http://chat.example"], &["other"])));
        assert!(
            !list.allow(&page(&["https://other"], &["other"])),
            "its own origin isn't listed"
        );
        assert!(!list.allow(&page(&["https://chat.example", "https://chat.example"], &["other"])));
        assert!(Origins::only(["*"]).allow(&page(&["https://evil"], &["other"])));
    }
}
