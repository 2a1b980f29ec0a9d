//! The page as a whole: selects the accounts to show and fills in the template.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use askama::Template;
use tokio::time::Instant;

use super::account::{AccountCard, AccountStatus, PageAccount};
use super::assets::{SCRIPT, STYLE};
use super::chart::Chart;
use super::events::{self, EventRow};
use super::format;
use super::pagination::{ACCOUNTS_PER_PAGE, PageLink, page_links};
use super::query::PageQuery;
use super::summary::{self, Notice, SummaryTile};
use super::tables::{self, CountryTable};
use super::watched::WatchedTable;
use crate::config::RoutePrefix;
use crate::duration;
use crate::inventory::InventorySummary;
use crate::metrics::ConfigStatus;
use crate::poller::Account;

/// What the page is rendered from.
#[derive(Debug)]
pub(in crate::web) struct PageInput<'a> {
    /// All accounts, in the order of the configuration.
    pub(in crate::web) accounts: &'a [Arc<Account>],
    pub(in crate::web) config_status: ConfigStatus,
    pub(in crate::web) route_prefix: &'a RoutePrefix,
    /// The path below the prefix at which the metrics are served.
    pub(in crate::web) telemetry_path: &'a str,
    /// Whether `POST /-/reload` is enabled.
    pub(in crate::web) reload_enabled: bool,
    /// When the process started.
    pub(in crate::web) started_at: Instant,
}

/// Renders the page as of now.
pub(in crate::web) fn render(input: &PageInput<'_>, query: PageQuery) -> String {
    let page = StatusPage::new(input, query, Instant::now(), SystemTime::now());
    let mut html = String::with_capacity(64 << 10);
    // Writing to a string does not fail.
    _ = page.render_into(&mut html);
    _ = html.write_char('\n');
    html
}

/// The values of the template, in the order of the page.
#[derive(Debug, Template)]
#[template(path = "page.html")]
struct StatusPage<'a> {
    title: String,
    style: &'static str,
    script: &'static str,
    version: &'static str,
    revision: &'static str,
    uptime: String,
    shard: u32,
    total_shards: u32,
    config_is_valid: bool,
    paths: EndpointPaths<'a>,
    reload_enabled: bool,
    rendered_at: String,
    notice: Option<Notice>,
    tiles: Vec<SummaryTile>,
    watched: WatchedTable,
    no_listing: &'static str,
    chart: Chart,
    number_table: CountryTable,
    fee_table: CountryTable,
    query: PageQuery,
    status_options: Vec<StatusOption>,
    selection: String,
    cards: Vec<AccountCard>,
    page_links: Vec<PageLink>,
    changes: Vec<EventRow>,
    errors: Vec<EventRow>,
}

/// The paths of the endpoints that the page links to and describes. Links are relative, so that they lead to the
/// exporter through a proxy that strips a prefix from the path.
#[derive(Debug)]
struct EndpointPaths<'a> {
    prefix: &'a RoutePrefix,
    telemetry: &'a str,
}

impl EndpointPaths<'_> {
    /// Returns an absolute path.
    fn absolute(&self, path: &str) -> String {
        self.prefix.join(path)
    }

    /// Returns the path of the metrics relative to the page.
    fn metrics_link(&self) -> &str {
        self.telemetry.trim_start_matches('/')
    }
}

/// An option of the form that selects accounts by status.
#[derive(Debug)]
struct StatusOption {
    value: &'static str,
    name: String,
    is_selected: bool,
}

impl<'a> StatusPage<'a> {
    fn new(input: &PageInput<'a>, mut query: PageQuery, now: Instant, clock: SystemTime) -> Self {
        let accounts: Vec<_> = input.accounts.iter().map(|account| PageAccount::new(account, now)).collect();
        let mut overview = InventorySummary::default();
        accounts.iter().filter_map(PageAccount::overview).for_each(|one| overview += one);

        let status = AccountStatus::ALL.into_iter().find(|status| status.query_value() == query.show);
        if status.is_none() {
            query.show.clear();
        }
        let selected = select_accounts(&accounts, &query.q, status);
        let last_page = selected.len().div_ceil(ACCOUNTS_PER_PAGE).max(1);
        let page = query.page.parse().unwrap_or(1).clamp(1, last_page);
        let start = (page - 1) * ACCOUNTS_PER_PAGE;
        let on_page = &selected[start..selected.len().min(start + ACCOUNTS_PER_PAGE)];
        let watched = WatchedTable::new(&accounts);
        let uptime = now.saturating_duration_since(input.started_at);
        Self {
            title: title(&accounts),
            style: STYLE,
            script: SCRIPT,
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("TRYVOX_EXPORTER_REVISION"),
            uptime: duration::format(Duration::from_secs(uptime.as_secs())),
            shard: input.config_status.shard,
            total_shards: input.config_status.total_shards,
            config_is_valid: input.config_status.is_valid,
            paths: EndpointPaths { prefix: input.route_prefix, telemetry: input.telemetry_path },
            reload_enabled: input.reload_enabled,
            rendered_at: format::timestamp(clock),
            notice: summary::build_notice(&accounts),
            tiles: summary::build_tiles(&accounts, &overview, &watched),
            watched,
            no_listing: "No account has a valid listing.",
            chart: Chart::new(&overview),
            number_table: tables::number_table(&overview),
            fee_table: tables::fee_table(&overview),
            status_options: status_options(&accounts, status),
            selection: describe_selection(selected.len(), start, on_page.len()),
            cards: on_page.iter().map(|account| account.card(now, clock)).collect(),
            page_links: page_links(&query, page, last_page),
            changes: events::recent_changes(&accounts, clock),
            errors: events::recent_errors(&accounts, clock),
            query,
        }
    }
}

/// Returns the accounts whose names contain `text`, ignoring case, and that have `status`, if it is given. Those
/// that need attention come first; otherwise they keep their order.
fn select_accounts<'v, 'a>(
    accounts: &'v [PageAccount<'a>],
    text: &str,
    status: Option<AccountStatus>,
) -> Vec<&'v PageAccount<'a>> {
    let text = text.to_lowercase();
    let is_selected = |account: &&PageAccount<'_>| {
        status.is_none_or(|status| account.status == status) && account.name().to_lowercase().contains(&text)
    };
    let mut selected: Vec<_> = accounts.iter().filter(is_selected).collect();
    selected.sort_by_key(|account| account.status);
    selected
}

fn title(accounts: &[PageAccount<'_>]) -> String {
    match accounts.iter().filter(|account| account.status.needs_attention()).count() {
        0 => "tryvox-exporter".to_owned(),
        failing => format!("{failing} of {} accounts need attention - tryvox-exporter", accounts.len()),
    }
}

fn status_options(accounts: &[PageAccount<'_>], selected: Option<AccountStatus>) -> Vec<StatusOption> {
    let option = |value, name: &str, count: usize, is_selected| StatusOption {
        value,
        name: format!("{name} ({})", format::count(count as u64)),
        is_selected,
    };
    let all = option("all", "all", accounts.len(), selected.is_none());
    let by_status = AccountStatus::ALL.into_iter().map(|status| {
        let count = accounts.iter().filter(|account| account.status == status).count();
        option(status.query_value(), &status.name().to_lowercase(), count, selected == Some(status))
    });
    std::iter::once(all).chain(by_status).collect()
}

/// Describes which of the `selected` accounts are on the page: `on_page` accounts after the first `start`.
fn describe_selection(selected: usize, start: usize, on_page: usize) -> String {
    match selected {
        0 => "No matching accounts.".to_owned(),
        1 => "1 account.".to_owned(),
        _ if on_page == selected => {
            format!("{} accounts, those that need attention first.", format::count(selected as u64))
        }
        _ => format!(
            "Accounts {} to {} of {}, those that need attention first.",
            format::count(start as u64 + 1),
            format::count((start + on_page) as u64),
            format::count(selected as u64)
        ),
    }
}
