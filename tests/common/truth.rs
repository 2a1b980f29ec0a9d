//! What a simulated account has, counted without any of the exporter's code: records as trees, fees
//! in thousandths.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{KEY, Running, http};

/// Every series that the inventory must have, with its value.
pub(crate) type Series = BTreeMap<String, f64>;

/// Reads the account page by page and counts.
pub(crate) async fn of(simulator: &Running) -> Series {
    let records = records(simulator).await;
    assert_eq!(
        records.iter().map(|record| record["e164"].as_str().unwrap()).collect::<BTreeSet<_>>().len(),
        records.len()
    );
    count("acc_demo", &records)
}

/// Counts records that are given as JSON.
pub(crate) fn of_records<R: AsRef<str>>(account: &str, records: impl Iterator<Item = R>) -> Series {
    count(account, &records.map(|record| serde_json::from_str(record.as_ref()).unwrap()).collect::<Vec<_>>())
}

async fn records(simulator: &Running) -> Vec<Value> {
    let (http, mut records) = (http(), Vec::new());
    for page in 1.. {
        let url = format!("{}/v1/account/acc_demo/numbers?page={page}&per_page=97", simulator.url());
        let answer = http.get(url).bearer_auth(KEY).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        records.extend(body["data"].as_array().unwrap().iter().cloned());
        if body["pagination"]["total_pages"].as_u64().unwrap() <= page {
            assert_eq!(body["pagination"]["total"].as_u64().unwrap(), records.len() as u64);
            break;
        }
    }
    records
}

fn count(account: &str, records: &[Value]) -> Series {
    let mut thousandths: BTreeMap<String, i128> = BTreeMap::new();
    let mut add = |series: String, amount: i128| *thousandths.entry(series).or_default() += amount;
    add(format!(r#"tryvox_listed_numbers{{account="{account}"}}"#), records.len() as i128 * 1000);
    add(format!(r#"tryvox_reported_numbers{{account="{account}"}}"#), records.len() as i128 * 1000);
    for record in records {
        let text = |field: &str| record[field].as_str().unwrap();
        let (country, kind, currency) = (text("country"), text("type"), text("currency"));
        for status in ["active", "pending", "suspended"] {
            let here = i128::from(status == text("status"));
            let labels = format!(r#"account="{account}",country="{country}",type="{kind}",status="{status}""#);
            add(format!("tryvox_numbers{{{labels}}}"), here * 1000);
            for fee in ["monthly", "setup"] {
                let amount = in_thousandths(&record[&format!("{fee}_fee")].to_string());
                add(format!(r#"tryvox_{fee}_fees{{{labels},currency="{currency}"}}"#), here * amount);
            }
        }
    }
    // The standard library reads a decimal text to the nearest double.
    thousandths.into_iter().map(|(series, sum)| (series, format!("{sum}e-3").parse().unwrap())).collect()
}

fn in_thousandths(fee: &str) -> i128 {
    let (units, fraction) = fee.split_once('.').unwrap();
    format!("{units}{fraction:0<3}").parse().unwrap()
}
