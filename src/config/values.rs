//! How the values of options are written. Every error says what would be right.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use crate::inventory::Money;
use crate::tryvox::STATUSES;

/// The longest duration that makes sense anywhere: it keeps sums of them far from overflow.
const MAX_DURATION: Duration = Duration::from_hours(24 * 365);

/// A duration above 0, as humantime reads it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err("must be longer than 0; write it like 30s or 5m".to_owned()),
        duration => Ok(duration),
    }
}

/// A duration, 0 included.
pub(super) fn duration_or_zero(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MAX_DURATION => Ok(duration),
        Ok(_) => Err("must be at most a year".to_owned()),
        Err(_) => Err("is not a duration; write it like 30s or 5m".to_owned()),
    }
}

/// A whole number within a range.
pub(super) fn integer<N>(text: &str, range: RangeInclusive<N>) -> Result<N, String>
where
    N: FromStr + PartialOrd + fmt::Display,
{
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
}

/// Requests a second: 0, which is no limit, or what a pacer can keep.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| *rate == 0.0 || (0.001..=1e6).contains(rate))
        .ok_or_else(|| "must be 0 (no limit) or a number from 0.001 to 1000000, in requests a second".to_owned())
}

/// A part of a whole.
pub(super) fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "must be a number from 0 to 1, like 0.01 for one in a hundred".to_owned())
}

/// The address of an API: where its paths start.
pub(super) fn base_url(text: &str) -> Result<Url, String> {
    let example = "write it like https://api.tryvox.io";
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error}); {example}"))?;
    let wrong = if !matches!(url.scheme(), "http" | "https") {
        "must start with https:// or http://"
    } else if !url.username().is_empty() || url.password().is_some() {
        "must not hold a user or a password"
    } else if url.query().is_some() || url.fragment().is_some() {
        "must not hold a ? or a #"
    } else {
        return Ok(url);
    };
    Err(format!("{wrong}; {example}"))
}

/// An account id, which becomes one segment of a path.
pub(super) fn account_id(text: &str) -> Result<String, String> {
    if text.is_empty() || matches!(text, "." | "..") || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Err("is not an account id; it is in the TryVox console and looks like acc_4XQ2".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// The name of an account, which is a label value.
pub(super) fn account_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        Err("must be 1 to 256 bytes without control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// An amount of money in a currency, at least 0.
pub(super) fn amount(currency: &str, text: &str) -> Result<Money, String> {
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err("the currency must be an ISO 4217 code, like USD".to_owned());
    }
    text.parse::<Money>()
        .ok()
        .filter(|money| *money >= Money::default())
        .ok_or_else(|| "must be an amount of at least 0, like 500 or 99.95".to_owned())
}

/// On or off.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    word(text, &[("true", true), ("false", false)])
}

/// Several of them, separated by commas; each once.
fn list(text: &str, right: fn(&str) -> bool, wrong: &str) -> Result<Vec<String>, String> {
    let mut values: Vec<String> = Vec::new();
    for value in text.split(',').map(str::trim) {
        if !right(value) {
            return Err(format!("{value:?} is {wrong}"));
        }
        if !values.iter().any(|other| other == value) {
            values.push(value.to_owned());
        }
    }
    Ok(values)
}

/// Countries, as ISO 3166-1 alpha-2 codes.
pub(super) fn countries(text: &str) -> Result<Vec<String>, String> {
    let alpha2 = |code: &str| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    list(text, alpha2, "not a country code; write it like US or US,CA")
}

/// Statuses that the API can be asked for.
pub(super) fn statuses(text: &str) -> Result<Vec<String>, String> {
    list(text, |status| STATUSES.contains(&status), "not one of active, pending, suspended")
}

/// Statuses whose numbers have series of their own, also ones that the API does not document.
pub(super) fn number_statuses(text: &str) -> Result<Vec<String>, String> {
    if text.trim() == "none" {
        return Ok(Vec::new());
    }
    let plain = |status: &str| !status.is_empty() && status != "none" && !status.chars().any(char::is_control);
    list(text, plain, "not a status; write it like suspended or suspended,pending, or none")
}

/// The path that metrics are served at.
pub(super) fn telemetry_path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !text.starts_with('/') || text.len() > 256 || !text.chars().all(plain) || text.contains("//") {
        Err("must be a path of letters, digits and -._~ like /metrics".to_owned())
    } else if text == "/" || text == "/-" || text.starts_with("/-/") {
        Err("is taken by the exporter's own pages; choose another like /metrics".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}", words.join(", "))
    })
}

/// Where to listen, as Prometheus's exporters write it: `host:port`, `[v6]:port`, `:port` for all
/// addresses, v4 and v6, or `unix:` and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// A port.
    Tcp {
        /// A name or an address; none for all addresses.
        host: Option<String>,
        /// 0 lets the system choose.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "is not an address; write it like :10869, 127.0.0.1:10869, [::1]:10869 or unix:/run/x.sock".to_owned();
        if let Some(path) = text.strip_prefix("unix:") {
            // What the system takes for the path of a socket (unix(7)).
            let right = !path.is_empty() && path.len() < 108 && !path.contains('\0') && !path.starts_with("//");
            return if right { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        // `u16` also reads `+1`.
        let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = port.and_then(|port| port.parse().ok()).ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match (host, bare) {
            ("", _) => None,
            (_, Some(v6)) => Some(v6.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?.to_string()),
            (name, None) if name.contains([':', '/', '[', ']', ' ']) => return Err(wrong()),
            (name, None) => Some(name.to_owned()),
        };
        Ok(Self::Tcp { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: None, port } => write!(f, ":{port}"),
            Self::Tcp { host: Some(v6), port } if v6.contains(':') => write!(f, "[{v6}]:{port}"),
            Self::Tcp { host: Some(host), port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Several of them, separated by commas.
pub(super) fn listen_addresses(text: &str) -> Result<Vec<ListenAddress>, String> {
    text.split(',').map(|address| address.trim().parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_humantime_s() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration_or_zero("0s"), Ok(Duration::ZERO));
        for bad in ["0s", "soon", "5", "-1s", "", "2y", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn listen_addresses_are_those_of_prometheus() {
        for good in [
            ":10869",
            "127.0.0.1:0",
            "[::1]:10869",
            "localhost:1",
            "0.0.0.0:65535",
            "[::]:80",
            "unix:/run/x.sock",
            "unix:x",
        ] {
            assert_eq!(good.parse::<ListenAddress>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "10869",
            ":",
            ":x",
            ":65536",
            "::1:80",
            "[::1",
            "[x]:80",
            "http://a:80",
            "a:+1",
            "a:",
            "unix:",
            "unix://x",
            "vsock://:1",
        ] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_that_cannot_be_an_api_are_refused() {
        assert!(base_url("http://127.0.0.1:8080/tryvox/").is_ok());
        for bad in [
            "",
            "api.tryvox.io",
            "ftp://a",
            "https://",
            "https://u:p@a",
            "https://a?x=1",
            "https://a#x",
            "http://a:99999",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_and_integers_keep_to_their_range() {
        assert_eq!(rate("0"), Ok(0.0));
        assert_eq!(rate("2.5"), Ok(2.5));
        for bad in ["-1", "NaN", "inf", "1e-9", "fast", ""] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert_eq!(share("0.01"), Ok(0.01));
        for bad in ["-0.1", "1.1", "NaN", "1%", ""] {
            assert!(share(bad).is_err(), "{bad}");
        }
        assert_eq!(integer("100", 1..=100_u8), Ok(100));
        for bad in ["0", "101", "-1", "1.5", "many"] {
            assert!(integer(bad, 1..=100_u8).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_hold_each_value_once() {
        assert_eq!(countries("US, CA,US"), Ok(vec!["US".to_owned(), "CA".to_owned()]));
        assert_eq!(statuses("suspended"), Ok(vec!["suspended".to_owned()]));
        for bad in ["", "us", "USA", "US,", "U1"] {
            assert!(countries(bad).is_err(), "{bad}");
        }
        assert!(statuses("active,gone").is_err());
    }

    #[test]
    fn budgets_are_amounts_in_a_currency() {
        assert_eq!(amount("USD", "500"), Ok("500".parse().unwrap()));
        for (currency, text) in [("usd", "5"), ("DOLLAR", "5"), ("USD", "-1"), ("USD", "much"), ("USD", "")] {
            assert!(amount(currency, text).is_err(), "{currency} {text}");
        }
        for bad in ["", " ", "a\nb"] {
            assert!(account_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_leave_the_exporter_its_own() {
        assert!(telemetry_path("/metrics").is_ok());
        for bad in ["", "metrics", "/", "/-/healthy", "/a b", "/{x}", "/*a", "//", "/?"] {
            assert!(telemetry_path(bad).is_err(), "{bad}");
        }
    }
}
