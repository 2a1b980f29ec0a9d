//! Resolves host names with the system's resolver.

use std::io;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The system's resolver, for which a search domain that fails does not matter.
///
/// Resolvers append search domains to names with fewer dots than the option `ndots`, which is 5 in a Kubernetes pod. If the
/// DNS server responds to one of these names with SERVFAIL, musl's resolver gives up
/// (<https://wiki.musl-libc.org/functional-differences-from-glibc.html>). Therefore a name that cannot be resolved is looked
/// up once more as an absolute name. It is not absolute from the start, because `/etc/hosts` has no absolute names.
#[derive(Debug)]
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let name = name.as_str();
            let addresses = match look_up(name).await {
                Err(error) if name.contains('.') && !name.ends_with('.') => {
                    look_up(&format!("{name}.")).await.map_err(|_| error)
                }
                result => result,
            };
            addresses.map_err(Into::into)
        })
    }
}

async fn look_up(name: &str) -> io::Result<Addrs> {
    // The caller replaces the port.
    let addresses: Vec<_> = tokio::net::lookup_host((name, 0)).await?.collect();
    Ok(Box::new(addresses.into_iter()))
}
