//! One simulated number and its JSON.

use std::fmt::Write;
use std::time::SystemTime;

use super::catalogue::{COUNTRIES, Country, KINDS};

/// The status of a simulated number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    Pending,
    Suspended,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Suspended => "suspended",
        }
    }
}

/// A number as the simulated account has it. Fees are in thousandths of a currency unit.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) digits: u64,
    pub(super) country: usize,
    pub(super) kind: usize,
    pub(super) region: Option<usize>,
    pub(super) status: Status,
    pub(super) capabilities: &'static [&'static str],
    pub(super) monthly: u32,
    pub(super) setup: u32,
    pub(super) trunk: Option<u16>,
    pub(super) application: Option<u16>,
    pub(super) created: SystemTime,
    pub(super) updated: SystemTime,
}

impl Number {
    pub(super) fn country(&self) -> &'static Country {
        &COUNTRIES[self.country]
    }

    /// The record as the API writes it.
    pub(super) fn json(&self) -> String {
        let country = self.country();
        let mut json = String::with_capacity(384);
        // Writing to a string cannot fail.
        _ = write!(
            json,
            r#"{{"e164":"+{}","country":"{}","type":"{}","region":{},"status":"{}","capabilities":["#,
            self.digits,
            country.code,
            KINDS[self.kind],
            self.region
                .map_or_else(|| "null".to_owned(), |region| serde_json::json!(country.regions[region]).to_string()),
            self.status.as_str(),
        );
        for (index, capability) in self.capabilities.iter().enumerate() {
            _ = write!(json, r#"{}"{capability}""#, if index > 0 { "," } else { "" });
        }
        _ = write!(
            json,
            r#"],"monthly_fee":{},"setup_fee":{},"currency":"{}","trunk_id":{},"application_id":{},"created_at":"{}","updated_at":"{}"}}"#,
            decimal(self.monthly),
            decimal(self.setup),
            country.currency,
            id("trk", self.trunk),
            id("app", self.application),
            humantime::format_rfc3339_seconds(self.created),
            humantime::format_rfc3339_seconds(self.updated),
        );
        json
    }
}

/// `1150` is `1.15`, `0` is `0.0`: no more digits than needed, as in the API's own example.
fn decimal(thousandths: u32) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

fn id(prefix: &str, index: Option<u16>) -> String {
    index.map_or_else(
        || "null".to_owned(),
        |index| format!(r#""{prefix}_{:04x}""#, u32::from(index) * 0x9d2f % 0x1_0000),
    )
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn fees_are_written_as_in_the_api_s_example() {
        let written = [0, 1_150, 855, 16_995, 20_000, 5, 500].map(decimal);
        assert_eq!(written, ["0.0", "1.15", "0.855", "16.995", "20.0", "0.005", "0.5"]);
    }
}
