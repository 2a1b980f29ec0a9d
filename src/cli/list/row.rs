//! A number as a row: its fields in the order of the columns, and whether the filters select it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::rows::exact_number;
use super::spool::StoredRecord;
use crate::config::ListOptions;
use crate::inventory::{E164, OwnerLookup};
use crate::timestamp;

/// Number of columns.
pub(super) const COLUMNS: usize = 15;

/// The names of the columns: the API's, the account before them and the owner after them.
pub(super) const FIELDS: [&str; COLUMNS] = [
    "account",
    "e164",
    "country",
    "type",
    "region",
    "status",
    "capabilities",
    "monthly_fee",
    "setup_fee",
    "currency",
    "trunk_id",
    "application_id",
    "created_at",
    "updated_at",
    "owner",
];

/// The columns of amounts.
pub(super) const AMOUNTS: &[usize] = &[7, 8];

/// A number of an account.
pub(super) struct Row<'a> {
    account: &'a str,
    e164: E164,
    record: &'a StoredRecord<'a>,
    owner: Option<&'a str>,
}

/// A row as a JSON object, whose fields are [`FIELDS`].
#[derive(Serialize)]
pub(super) struct JsonRow<'a> {
    account: &'a str,
    e164: E164,
    country: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    region: Option<&'a str>,
    status: &'a str,
    capabilities: Option<&'a [Cow<'a, str>]>,
    monthly_fee: Option<Box<RawValue>>,
    setup_fee: Option<Box<RawValue>>,
    currency: &'a str,
    trunk_id: Option<&'a str>,
    application_id: Option<&'a str>,
    created_at: Option<String>,
    updated_at: Option<String>,
    owner: Option<&'a str>,
}

impl<'a> Row<'a> {
    /// Creates the row of a number; `owners` looks up those of the account.
    pub(super) fn new<'o: 'a>(
        account: &'a str,
        owners: &mut OwnerLookup<'o>,
        e164: E164,
        record: &'a StoredRecord<'a>,
    ) -> Self {
        let StoredRecord { country, trunk_id, application_id, .. } = record;
        let owner = owners.owner_of(e164, country, trunk_id.as_deref(), application_id.as_deref());
        Self { account, e164, record, owner: owner.map(|owner| &**owner) }
    }

    /// Returns whether the filters select the number.
    pub(super) fn is_selected(&self, filters: &ListOptions) -> bool {
        let ListOptions { countries, statuses, types, assignments, owners } = filters;
        let selects = |values: &Option<Vec<String>>, value: &str| {
            values.as_ref().is_none_or(|values| values.iter().any(|selected| selected == value))
        };
        selects(countries, &self.record.country)
            && selects(statuses, &self.record.status)
            && selects(types, &self.record.kind)
            && assignments.as_ref().is_none_or(|_| self.assignment().is_some_and(|value| selects(assignments, value)))
            && selects(owners, self.owner.unwrap_or_default())
    }

    /// Returns what the number is assigned to; `None` if it may be assigned, but what to cannot be read.
    fn assignment(&self) -> Option<&'static str> {
        match (&self.record.trunk_id, &self.record.application_id) {
            (Some(_), Some(_)) => Some("both"),
            (Some(_), None) => Some("trunk"),
            (None, Some(_)) => Some("application"),
            (None, None) if self.record.has_unreadable_assignment => None,
            (None, None) => Some("none"),
        }
    }

    /// Returns the text of each column; an absent value is empty.
    pub(super) fn cells(&self) -> [String; COLUMNS] {
        let Self { account, e164, record, owner } = self;
        let text = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
        [
            (*account).to_owned(),
            e164.to_string(),
            record.country.to_string(),
            record.kind.to_string(),
            text(&record.region),
            record.status.to_string(),
            record.capabilities.as_deref().unwrap_or_default().join(" "),
            record.monthly_fee.to_string(),
            record.setup_fee.to_string(),
            record.currency.to_string(),
            text(&record.trunk_id),
            text(&record.application_id),
            time(record.created_at).unwrap_or_default(),
            time(record.updated_at).unwrap_or_default(),
            owner.unwrap_or_default().to_owned(),
        ]
    }

    /// Returns the row as a JSON object.
    pub(super) fn json(&self) -> JsonRow<'a> {
        let Self { account, e164, record, owner } = *self;
        JsonRow {
            account,
            e164,
            country: &record.country,
            kind: &record.kind,
            region: record.region.as_deref(),
            status: &record.status,
            capabilities: record.capabilities.as_deref(),
            monthly_fee: exact_number(&record.monthly_fee),
            setup_fee: exact_number(&record.setup_fee),
            currency: &record.currency,
            trunk_id: record.trunk_id.as_deref(),
            application_id: record.application_id.as_deref(),
            created_at: time(record.created_at),
            updated_at: time(record.updated_at),
            owner,
        }
    }
}

/// Formats a Unix timestamp by RFC 3339.
fn time(seconds: Option<u32>) -> Option<String> {
    seconds.map(|seconds| timestamp::to_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into())))
}
