//! The proxy that requests to the API use, so that errors name it.
//!
//! The HTTP library selects the proxy; this module follows the same rules: `HTTPS_PROXY`, then `ALL_PROXY`, unless
//! `NO_PROXY` excludes the host. Each of them may also be written in lower case.

use std::fmt;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

/// The variables that name a proxy, by precedence. Of each pair only the first that is set counts.
const PROXY_VARIABLES: [[&str; 2]; 2] = [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];

/// The variables that name the hosts that are requested directly.
const EXCLUSION_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A proxy, and the environment variable that it comes from. It is displayed without its user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// The environment variable.
    pub(super) variable: &'static str,
    /// Scheme, host and port.
    origin: String,
}

/// Checks the proxy that the environment names for requests to a URL, if any.
///
/// # Errors
/// If a variable names something else than a proxy.
pub fn check_proxy(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    Proxy::from_environment(url, variable).map(|_| ())
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {} of {}", self.origin, self.variable)
    }
}

impl Proxy {
    /// Returns the scheme with which the proxy also resolves the names of hosts; `None` if it does anyway.
    pub(super) fn resolving_scheme(&self) -> Option<&'static str> {
        match self.origin.split("://").next() {
            Some("socks4") => Some("socks4a"),
            Some("socks5") => Some("socks5h"),
            _ => None,
        }
    }

    /// Returns the proxy for requests to a URL according to the environment; `None` if they are direct.
    ///
    /// # Errors
    /// If a variable names something else than a proxy. Its value is not quoted, because it may contain a password.
    pub(super) fn from_environment(
        url: &Url,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        let Ok(uri) = url.as_str().parse::<Uri>() else { return Ok(None) };
        let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));
        let exclusions = first(EXCLUSION_VARIABLES).map(|(_, hosts)| hosts).unwrap_or_default();
        let intercept =
            |proxy: &str, exclusions: &str| Matcher::builder().all(proxy).no(exclusions).build().intercept(&uri);
        if url.scheme() != "https" || intercept("http://proxy", &exclusions).is_none() {
            return Ok(None);
        }
        let mut set = PROXY_VARIABLES.into_iter().filter_map(first).filter(|(_, value)| !value.is_empty());
        let Some((variable, value)) = set.next() else { return Ok(None) };
        let proxy = intercept(&value, "").filter(|_| is_address(&value)).ok_or_else(|| {
            format!(
                "{variable} is not the address of a proxy; write it like http://HOST:PORT or socks5h://HOST:PORT, and \
                 percent-encode special characters of a password"
            )
        })?;
        Ok(Some(Self { variable, origin: proxy.uri().to_string().trim_end_matches('/').to_owned() }))
    }
}

/// Returns whether a value is an optional scheme, an optional user and password, a host and an optional port. The HTTP
/// library also takes a part of other values, which may then be a part of a password.
fn is_address(value: &str) -> bool {
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    !authority.contains(['/', '?', '#', '\\'])
        && !user.contains('@')
        && Url::parse(&format!("http://{authority}")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        Proxy::from_environment(&url.parse().unwrap(), variable).map(|proxy| proxy.map(|proxy| proxy.to_string()))
    }

    #[test]
    fn proxy_is_that_of_the_first_variable_that_is_set() {
        let api = "https://api.example/v1";
        for (variables, expected) in [
            (&[][..], None),
            (&[("HTTPS_PROXY", "http://a:1"), ("ALL_PROXY", "http://b:2")], Some("proxy http://a:1 of HTTPS_PROXY")),
            (&[("https_proxy", "a:1")], Some("proxy http://a:1 of https_proxy")),
            (&[("HTTPS_PROXY", ""), ("all_proxy", "socks5://b:2")], Some("proxy socks5://b:2 of all_proxy")),
            (&[("HTTPS_PROXY", "http://user:secret@a:1/")], Some("proxy http://a:1 of HTTPS_PROXY")),
            (&[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "example")], None),
            (&[("HTTPS_PROXY", "ftp://a:1"), ("no_proxy", "*")], None),
            (&[("HTTP_PROXY", "http://a:1")], None),
        ] {
            assert_eq!(proxy(api, variables).unwrap().as_deref(), expected, "{variables:?}");
        }
        assert_eq!(proxy("http://api.example/v1", &[("ALL_PROXY", "http://a:1")]), Ok(None));
    }

    #[test]
    fn an_invalid_proxy_is_an_error_that_does_not_quote_it() {
        for value in [
            "ftp://user:secret@a:1",
            "socks://secret",
            "http://",
            "secret secret",
            "http://user:se/cret@a:1",
            "http://user:secret#x@a:1",
            "http://user:secret?x@a:1",
            "http://user:se@secret@a:1",
            "http://secret:99999",
        ] {
            let error = proxy("https://api.example", &[("https_proxy", value)]).unwrap_err();
            assert!(error.starts_with("https_proxy is not") && !error.contains("secret"), "{error}");
        }
    }
}
