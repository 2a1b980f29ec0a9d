//! What is unexpected in a listing: invalid records, unreadable fields, undocumented forms and values, and a total that
//! differs.

use std::collections::{BTreeMap, BTreeSet};

use super::{plural, some_of};
use crate::inventory::Listing;
use crate::inventory::{InvalidRecords, Inventory};
use crate::tryvox::{OptionalField, STATUSES};

/// The documented types.
const TYPES: &[&str] = &["local", "toll_free", "mobile"];
/// The documented capabilities.
const CAPABILITIES: &[&str] = &["voice", "sms", "mms"];
/// The documented currencies.
const CURRENCIES: &[&str] = &["USD"];

/// The documented countries: all assigned codes of ISO 3166-1 alpha-2.
const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW \
    BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI \
    FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN \
    IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME \
    MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF \
    PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV \
    SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE \
    YT ZA ZM ZW";

/// Returns the problems of a listing, each in one line.
pub(super) fn problems(listing: &Listing) -> Vec<String> {
    let inventory = &listing.inventory;
    let mut problems = Vec::new();
    for (kind, InvalidRecords { count, example }) in &inventory.invalid_by_kind {
        let description = describe_invalid(kind);
        problems.push(format!("{}: {description}, for example: {example}", plural(*count, "invalid record")));
    }
    for (field, numbers) in OptionalField::ALL.into_iter().zip(inventory.unreadable_fields) {
        if numbers > 0 {
            let numbers = plural(numbers, "number");
            problems.push(format!("{} cannot be read and counts as absent for {numbers}", field.as_str()));
        }
    }
    for deviation in &inventory.deviations {
        problems.push(format!("undocumented form, which is read: {deviation}"));
    }
    for (label, values) in undocumented(inventory) {
        problems.push(format!("undocumented {label}, kept as it is: {}", some_of(values.into_iter())));
    }
    if listing.discrepancy() > 0 {
        problems.push(format!(
            "the API reports {} numbers but listed {} ({} invalid): a difference of {}",
            listing.reported,
            inventory.listed + inventory.invalid,
            inventory.invalid,
            listing.discrepancy()
        ));
    }
    problems
}

/// Describes a category of invalid records, as returned by
/// [`InvalidRecord::kind`](crate::inventory::InvalidRecord::kind).
fn describe_invalid(kind: &str) -> String {
    match kind {
        "shape" => "a required field is missing or has the wrong type".to_owned(),
        "fee" => "a fee is not a valid amount".to_owned(),
        field => format!("{field} is empty, too long or malformed"),
    }
}

/// Returns the values of a listing that the API does not document, by label.
fn undocumented(inventory: &Inventory) -> BTreeMap<&'static str, BTreeSet<&str>> {
    let mut undocumented: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for ([country, kind, status, currency], _) in inventory.groups.iter().filter(|(_, totals)| totals.numbers > 0) {
        for (label, value, is_documented) in [
            ("country", country, COUNTRIES.split(' ').any(|code| *code == **country)),
            ("type", kind, TYPES.contains(&&**kind)),
            ("status", status, STATUSES.contains(&&**status)),
            ("currency", currency, CURRENCIES.contains(&&**currency)),
        ] {
            if !is_documented {
                undocumented.entry(label).or_default().insert(&**value);
            }
        }
    }
    for [capability, _] in inventory.capabilities.keys() {
        if !CAPABILITIES.contains(&&**capability) {
            undocumented.entry("capability").or_default().insert(&**capability);
        }
    }
    undocumented
}
