//! One request, and a whole listing of them.

use std::error::Error;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{ACCEPT, AUTHORIZATION, LOCATION};
use reqwest::{Response, StatusCode, Url};
use tokio::time::Instant;

use super::pacing::Pacer;
use super::wire::{Page, Pagination};
use super::{ApiKey, Failure, Reason, Requests};

/// A page's body is read to at most this many bytes, after decompression.
const MAX_BODY: usize = 16 << 20;

/// How an account may be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// What one request may take, until the end of its body.
    pub timeout: Duration,
    /// Requests in flight, at least 1.
    pub concurrency: usize,
    /// Requests a second; 0 is no limit.
    pub rate: f64,
    /// Numbers a page, 1 to 100.
    pub per_page: u8,
}

/// What a whole listing was like; its records went elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Pages that were read.
    pub pages: u32,
    /// `pagination.total` of the first page.
    pub reported: u64,
}

/// The connections that accounts share, one pool for `https` and one for `http`.
#[derive(Debug, Clone)]
pub struct HttpClients {
    https: Option<reqwest::Client>,
    http: Option<reqwest::Client>,
}

impl HttpClients {
    /// Pools for those schemes that the URLs have.
    ///
    /// # Errors
    /// When TLS cannot be set up: as a rule because this machine has no certificates to trust.
    pub fn new<'a>(urls: impl IntoIterator<Item = &'a Url>) -> Result<Self, String> {
        let mut clients = Self { https: None, http: None };
        for url in urls {
            let slot = if url.scheme() == "https" { &mut clients.https } else { &mut clients.http };
            if slot.is_none() {
                *slot = Some(http_client(url.scheme() == "https")?);
            }
        }
        Ok(clients)
    }

    fn of(&self, url: &Url) -> Option<reqwest::Client> {
        if url.scheme() == "https" { self.https.clone() } else { self.http.clone() }
    }
}

fn http_client(https: bool) -> Result<reqwest::Client, String> {
    // Fails only where one is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("tryvox-exporter/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Requests are counted, so none is sent that was not asked for.
        .retry(reqwest::retry::never());
    // Over plain http a proxy would read the key, and no certificate is ever looked at.
    let builder = if https { builder } else { builder.no_proxy().tls_certs_only([]) };
    builder.build().map_err(|error| {
        format!("TLS cannot be set up: {}; is the package ca-certificates installed?", innermost(&error))
    })
}

/// The address of an account's listing: `{url}/v1/account/{account_id}/numbers`.
#[must_use]
pub fn numbers_url(url: &Url, account_id: &str) -> Url {
    let mut numbers = url.clone();
    // Only a URL that cannot be a base has no path segments, and `http` and `https` can be one.
    if let Ok(mut path) = numbers.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "account", account_id, "numbers"]);
    }
    numbers
}

/// Asks for one account's numbers.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    numbers: Url,
    limits: Limits,
    pacer: Pacer,
    requests: Mutex<Requests>,
}

impl Client {
    /// A client for the account whose listing is at `numbers`, see [`numbers_url`].
    ///
    /// # Errors
    /// When `http` was made without the URL's scheme.
    pub fn new(http: &HttpClients, numbers: Url, limits: Limits) -> Result<Self, Failure> {
        let http = http
            .of(&numbers)
            .ok_or_else(|| Failure::new(Reason::Internal, format!("no connection pool for {}", numbers.scheme())))?;
        let pacer = Pacer::new(limits.rate);
        Ok(Self { http, numbers, limits, pacer, requests: Mutex::default() })
    }

    /// What the requests came to so far.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.lock_requests().clone()
    }

    /// Lists every number once: page 1 first, then the rest, as many at a time as may be in flight.
    ///
    /// `take` is given each page as it arrives, in any order. For N pages there are N requests.
    ///
    /// # Errors
    /// The first failure of any page; pages may have been taken by then.
    pub async fn list<F>(&self, key: &ApiKey, take: F) -> Result<Listing, Failure>
    where
        F: Fn(u32, Page<'_>),
    {
        let page = async |page| {
            let read = self.page(page, key, &take).await;
            read.map_err(|failure| Failure { page: Some(page), cause: key.redact(&failure.cause), ..failure })
        };
        let Pagination { total, total_pages } = page(1).await?;
        let pages = u32::try_from(total_pages.max(1)).map_err(|_| {
            Failure::new(Reason::Inconsistent, format!("total_pages is {total_pages}; no listing has so many"))
        })?;
        stream::iter((2..=pages).map(page))
            .buffer_unordered(self.limits.concurrency)
            .try_for_each(async |_| Ok(()))
            .await?;
        Ok(Listing { pages, reported: total })
    }

    async fn page<F>(&self, page: u32, key: &ApiKey, take: &F) -> Result<Pagination, Failure>
    where
        F: Fn(u32, Page<'_>),
    {
        self.pacer.turn().await;
        let body = self.request(page, key).await?;
        let mut read = Page::read(&body)
            .map_err(|error| Failure::new(Reason::Decode, format!("the body is not a page of numbers: {error}")))?;
        for error in &mut read.unreadable {
            *error = key.redact(error);
        }
        let pagination = read.pagination;
        take(page, read);
        Ok(pagination)
    }

    /// One request, counted however it ends.
    async fn request(&self, page: u32, key: &ApiKey) -> Result<Bytes, Failure> {
        let bearer = key.bearer().map_err(|error| Failure::new(Reason::ApiKey, error.to_string()))?;
        let start = Instant::now();
        let sent = self
            .http
            .get(self.page_url(page))
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json")
            .timeout(self.limits.timeout)
            .send()
            .await;
        let (status, body) = match sent {
            Ok(response) => (Some(response.status().as_u16()), self.body(response).await),
            Err(error) => (None, Err(self.no_answer(&error))),
        };
        self.lock_requests().observe(status, start.elapsed());
        body
    }

    fn page_url(&self, page: u32) -> Url {
        let mut url = self.numbers.clone();
        url.query_pairs_mut()
            .append_pair("page", &page.to_string())
            .append_pair("per_page", &self.limits.per_page.to_string());
        url
    }

    async fn body(&self, mut response: Response) -> Result<Bytes, Failure> {
        if response.status() != StatusCode::OK {
            return Err(refusal(&response));
        }
        let mut body = Vec::with_capacity(body_capacity(response.content_length()));
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > MAX_BODY => {
                    return Err(Failure::new(Reason::TooLarge, format!("the body is larger than {MAX_BODY} bytes")));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body.into()),
                Err(error) if error.is_timeout() => return Err(self.timed_out()),
                Err(error) => {
                    return Err(Failure::new(Reason::Decode, format!("the body is cut: {}", innermost(&error))));
                }
            }
        }
    }

    fn no_answer(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return self.timed_out();
        }
        let reason = if causes(error).any(<dyn Error>::is::<rustls::Error>) { Reason::Tls } else { Reason::Connect };
        let host = self.numbers.host_str().unwrap_or_default();
        Failure::new(reason, format!("no answer from {host}: {}", innermost(error)))
    }

    fn timed_out(&self) -> Failure {
        let after = humantime::format_duration(self.limits.timeout);
        Failure::new(Reason::Timeout, format!("no whole answer within {after} (--tryvox.timeout)"))
    }

    fn lock_requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an answer that is not 200 means.
fn refusal(response: &Response) -> Failure {
    let status = response.status();
    let (reason, meaning) = match status.as_u16() {
        401 => (Reason::Unauthorized, "the API does not accept the key; check it, it may have been rotated"),
        403 => (Reason::Forbidden, "the key may not list this account; check its permissions"),
        404 => (Reason::NotFound, "the API knows no such account; check the account id and the URL"),
        429 => (Reason::RateLimited, "too many requests; lower --tryvox.rate-limit"),
        300..=399 => (Reason::Redirect, "a redirect, which is never followed; check the URL"),
        500..=599 => (Reason::ServerError, "the API is in trouble"),
        _ => (Reason::HttpStatus, "not an answer this API documents"),
    };
    let target = match response.headers().get(LOCATION) {
        Some(target) if reason == Reason::Redirect => format!(" to {target:?}"),
        _ => String::new(),
    };
    Failure::new(reason, format!("HTTP {}{target}: {meaning}", status.as_u16()))
}

/// What to set aside for a body of this declared length: no more than a page of numbers needs.
fn body_capacity(length: Option<u64>) -> usize {
    const USUAL: usize = 64 << 10;
    length.and_then(|length| usize::try_from(length).ok()).unwrap_or(USUAL).min(USUAL)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        // An `io::Error` that wraps another shows that one's source as its own, not the other.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// The text of the last cause, which is what happened; those before it only say where.
fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_one_segment_behind_the_base_url() {
        for (base, account, expected) in [
            ("https://api.tryvox.io", "acc_4XQ2", "https://api.tryvox.io/v1/account/acc_4XQ2/numbers"),
            ("https://api.tryvox.io/", "acc_4XQ2", "https://api.tryvox.io/v1/account/acc_4XQ2/numbers"),
            ("http://gateway/tryvox/", "a/b?c", "http://gateway/tryvox/v1/account/a%2Fb%3Fc/numbers"),
        ] {
            assert_eq!(numbers_url(&base.parse().unwrap(), account).as_str(), expected);
        }
    }
}
