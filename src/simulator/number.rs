//! One simulated number and its JSON record.

use std::fmt::Write;
use std::time::SystemTime;

use super::countries::Country;

/// The status of a simulated number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SimulatedStatus {
    Active,
    Pending,
    Suspended,
}

impl SimulatedStatus {
    /// Returns the status as the API spells it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Suspended => "suspended",
        }
    }
}

/// A number of a simulated account.
#[derive(Debug)]
pub(super) struct SimulatedNumber {
    /// The E.164 number without its plus sign.
    pub(super) digits: u64,
    pub(super) country: &'static Country,
    /// One of [`NUMBER_TYPES`](super::countries::NUMBER_TYPES).
    pub(super) number_type: &'static str,
    /// One of the country's regions.
    pub(super) region: Option<&'static str>,
    pub(super) status: SimulatedStatus,
    pub(super) capabilities: &'static [&'static str],
    /// In thousandths of a unit of the country's currency.
    pub(super) monthly_fee: u32,
    /// In thousandths of a unit of the country's currency.
    pub(super) setup_fee: u32,
    /// Index of the trunk; its id is made from it.
    pub(super) trunk: Option<u16>,
    /// Index of the application; its id is made from it.
    pub(super) application: Option<u16>,
    pub(super) created_at: SystemTime,
    /// Not before `created_at`.
    pub(super) updated_at: SystemTime,
}

impl SimulatedNumber {
    /// Returns whether it has a trunk or an application.
    pub(super) fn is_assigned(&self) -> bool {
        self.trunk.is_some() || self.application.is_some()
    }

    /// Returns the record as the API writes it.
    pub(super) fn to_json(&self) -> String {
        let mut json = String::with_capacity(384);
        // Writing to a string cannot fail.
        _ = write!(
            json,
            r#"{{"e164":"+{}","country":"{}","type":"{}","region":{},"status":"{}","capabilities":["#,
            self.digits,
            self.country.code,
            self.number_type,
            serde_json::json!(self.region),
            self.status.as_str(),
        );
        for (index, capability) in self.capabilities.iter().enumerate() {
            _ = write!(json, r#"{}"{capability}""#, if index > 0 { "," } else { "" });
        }
        _ = write!(
            json,
            r#"],"monthly_fee":{},"setup_fee":{},"currency":"{}","trunk_id":{},"application_id":{},"created_at":"{}","updated_at":"{}"}}"#,
            format_fee(self.monthly_fee),
            format_fee(self.setup_fee),
            self.country.currency,
            format_id("trk", self.trunk),
            format_id("app", self.application),
            humantime::format_rfc3339_seconds(self.created_at),
            humantime::format_rfc3339_seconds(self.updated_at),
        );
        json
    }
}

/// Formats thousandths as a decimal with no more digits than needed, as in the API's own example: `1150` is `1.15`,
/// `0` is `0.0`.
fn format_fee(thousandths: u32) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

/// Formats an index as a JSON string that looks like one of the API's ids, or `null`. The multiplier is odd, so
/// different indices have different ids.
fn format_id(prefix: &str, index: Option<u16>) -> String {
    index.map_or_else(
        || "null".to_owned(),
        |index| format!(r#""{prefix}_{:04x}""#, u32::from(index) * 0x9d2f % 0x1_0000),
    )
}

#[cfg(test)]
mod tests {
    use super::format_fee;

    #[test]
    fn fees_have_no_more_digits_than_the_api_example() {
        let formatted = [0, 1_150, 855, 16_995, 20_000, 5, 500].map(format_fee);
        assert_eq!(formatted, ["0.0", "1.15", "0.855", "16.995", "20.0", "0.005", "0.5"]);
    }
}
