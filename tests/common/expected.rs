//! Computes the inventory series that a simulated account must have, without any of the exporter's code.
//!
//! Records are parsed into JSON trees and fees are summed as whole thousandths, so the results are exact.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{KEY, ServerProcess, http};

/// Values of series by name and labels, written as in the exposition.
pub(crate) type Series = BTreeMap<String, f64>;

/// Requests the whole listing of `acc_demo` and returns the series it must lead to.
pub(crate) async fn from_simulator(simulator: &ServerProcess) -> Series {
    let records = list_records(simulator).await;
    assert_eq!(
        records.iter().map(|record| record["e164"].as_str().unwrap()).collect::<BTreeSet<_>>().len(),
        records.len()
    );
    expected_series("acc_demo", &records)
}

/// Returns the series that JSON records of an account must lead to.
pub(crate) fn from_records<R: AsRef<str>>(account: &str, records: impl Iterator<Item = R>) -> Series {
    expected_series(account, &records.map(|record| serde_json::from_str(record.as_ref()).unwrap()).collect::<Vec<_>>())
}

async fn list_records(simulator: &ServerProcess) -> Vec<Value> {
    let (http, mut records) = (http(), Vec::new());
    for page in 1.. {
        let url = format!("{}/v1/account/acc_demo/numbers?page={page}&per_page=97", simulator.url());
        let response = http.get(url).bearer_auth(KEY).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        records.extend(body["data"].as_array().unwrap().iter().cloned());
        if body["pagination"]["total_pages"].as_u64().unwrap() <= page {
            assert_eq!(body["pagination"]["total"].as_u64().unwrap(), records.len() as u64);
            break;
        }
    }
    records
}

fn expected_series(account: &str, records: &[Value]) -> Series {
    let mut thousandths: BTreeMap<String, i128> = BTreeMap::new();
    let mut add = |series: String, amount: i128| *thousandths.entry(series).or_default() += amount;
    add(format!(r#"tryvox_listed_numbers{{account="{account}"}}"#), records.len() as i128 * 1000);
    add(format!(r#"tryvox_reported_numbers{{account="{account}"}}"#), records.len() as i128 * 1000);
    for record in records {
        let text = |field: &str| record[field].as_str().unwrap();
        let (country, kind, currency) = (text("country"), text("type"), text("currency"));
        for status in ["active", "pending", "suspended"] {
            let count = i128::from(status == text("status"));
            let labels = format!(r#"account="{account}",country="{country}",type="{kind}",status="{status}""#);
            add(format!("tryvox_numbers{{{labels}}}"), count * 1000);
            for fee in ["monthly", "setup"] {
                let amount = in_thousandths(&record[&format!("{fee}_fee")].to_string());
                add(format!(r#"tryvox_{fee}_fees{{{labels},currency="{currency}"}}"#), count * amount);
            }
        }
    }
    // The standard library parses a decimal to the nearest double.
    thousandths.into_iter().map(|(series, sum)| (series, format!("{sum}e-3").parse().unwrap())).collect()
}

fn in_thousandths(fee: &str) -> i128 {
    let (units, fraction) = fee.split_once('.').unwrap();
    format!("{units}{fraction:0<3}").parse().unwrap()
}
