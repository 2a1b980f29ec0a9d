//! Tests of the pages that decoding accepts and of what it makes of them.

use super::*;

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::sample::Index;

const RECORD: &str = r#"{"e164":"+14155550123","country":"US","type":"local","region":"CA","status":"active",
    "capabilities":["voice","sms","mms"],"monthly_fee":1.15,"setup_fee":0.0,"currency":"USD",
    "trunk_id":"trk_9f2c","application_id":null,"created_at":"2025-03-11T09:24:00Z","updated_at":"2025-11-02T17:40:12Z"}"#;
const PAGINATION: &str = r#"{"total":1,"count":1,"per_page":100,"current_page":1,"total_pages":1}"#;

fn page(records: &[&str]) -> String {
    format!(r#"{{"data":[{}],"pagination":{PAGINATION}}}"#, records.join(","))
}

/// Parses a body and passes the page on.
fn with_page<T>(body: impl AsRef<[u8]>, read: impl FnOnce(ListingPage<'_>) -> T) -> T {
    let text = PageText::new(body.as_ref());
    read(ListingPage::parse(&text, 100).unwrap())
}

fn parse_error(body: impl AsRef<[u8]>) -> InvalidPage {
    ListingPage::parse(&PageText::new(body.as_ref()), 100).unwrap_err()
}

#[test]
fn documented_example_is_parsed_with_exact_fees() {
    with_page(page(&[RECORD]), |page| {
        assert_eq!(page.pagination, Pagination { total: 1, total_pages: 1 });
        assert!(page.malformed.is_empty() && page.deviations.is_empty());
        let [record] = &page.records[..] else { panic!("{page:?}") };
        assert_eq!((&*record.e164, &*record.kind, &*record.status), ("+14155550123", "local", "active"));
        assert_eq!((record.monthly_fee, record.setup_fee), ("1.15", "0.0"));
        assert_eq!(record.created_at, Some(1_741_685_040));
        assert_eq!(record.unreadable, FieldSet::default());
    });
}

#[test]
fn documented_pages_need_no_second_pass() {
    let variants = [
        page(&[]),
        page(&[RECORD, RECORD]),
        page(&[&RECORD.replace(r#""region":"CA","#, "")]),
        page(&[&RECORD.replace(r#""CA""#, "null")]),
        page(&[&RECORD.replace(r#""CA""#, r#""""#)]),
        page(&[&RECORD.replace("2025-03-11T09:24:00Z", "2025-03-11T11:24:00.5+02:00")]),
        page(&[&RECORD.replace("1.15", r#""1.15""#)]),
    ];
    for body in variants {
        assert!(ListingPage::parse_documented(&PageText::new(body.as_bytes())).is_some(), "{body}");
    }
}

/// Values of the fields of a record, and of others, as the API may write them.
const VALUES: [(&str, &[&str]); 15] = [
    ("e164", &[r#""+14155550123""#, r#""+1""#, r#""""#, r#""\u002b1""#, "null", "7"]),
    ("country", &[r#""US""#, r#""GB""#, "null"]),
    ("type", &[r#""local""#, r#""toll_free""#, r#""a \"b\"""#, r#""\ud800""#]),
    ("status", &[r#""active""#, r#""suspended""#, r#""sus\npended""#, "true"]),
    ("currency", &[r#""USD""#, r#""€""#, "[]"]),
    ("monthly_fee", &["1.15", "0", "-0.5e+3", "1E9", r#""1.15""#, "null", "01", "1.", "-", ".5", "1e", "[1, {}]"]),
    ("setup_fee", &["0.0", "100", "{}", r#"{"a": [1]}"#, "0x1", "+1"]),
    ("capabilities", &[r#"["voice","sms"]"#, "[]", r#"[ "voice" , "\u0061" ]"#, "null", "nul", r#"["a",]"#, "[1]"]),
    ("region", &[r#""CA""#, r#""São Paulo""#, r#""Qu\u00e9bec""#, "null", r#""""#, "7"]),
    ("trunk_id", &[r#""trk_9f2c""#, "null", "nulll", "false"]),
    ("application_id", &["null", r#""app_1""#, "{}"]),
    (
        "created_at",
        &[r#""2025-03-11T09:24:00Z""#, r#""2025-03-11T09:24:00.5+02:00""#, "null", r#""2025-02-29T00:00:00Z""#],
    ),
    ("updated_at", &[r#""2025-11-02T17:40:12Z""#, r#""2025-11-02 17:40:12Z""#, "1762105212"]),
    ("note", &[r#"{"a":[1,2,{"b":null}]}"#, r#""\\""#, "-12.5e-3", "[[[]]]", "[", "tru"]),
    ("", &["1"]),
];

/// The fields that every record has.
const FIELDS_OF_RECORD: [&str; 7] = [
    r#""e164":"+14165550100""#,
    r#""country":"CA""#,
    r#""type":"local""#,
    r#""status":"active""#,
    r#""currency":"CAD""#,
    r#""monthly_fee":1.5"#,
    r#""setup_fee":0"#,
];

/// Returns the first item, which is as documented, except for one draw in `others_in`.
fn mostly_first<T: Clone + Debug + 'static>(items: &[T], others_in: u32) -> impl Strategy<Value = T> + use<T> {
    let items = items.to_vec();
    (0..others_in, any::<Index>()).prop_map(move |(draw, index)| match draw {
        0 => index.get(&items).clone(),
        _ => items[0].clone(),
    })
}

/// A record with some fields in some order, and with some whitespace.
fn any_record() -> impl Strategy<Value = String> {
    let fields: Vec<_> = VALUES
        .iter()
        .map(|(name, values)| {
            // With a lot of whitespace, the bytes before a value are more than those that are compared at once.
            let long = " ".repeat(40);
            let space = || mostly_first(&["", " ", "\n\t", "\u{a0}", &long].map(str::to_owned), 20);
            let name = mostly_first(&[(*name).to_owned(), name.to_uppercase(), name.replace('a', r"\u0061")], 100);
            (name, mostly_first(values, 6), space(), space())
                .prop_map(|(name, value, before, after)| format!("{before}\"{name}\"{after}:{before}{value}{after}"))
        })
        .collect();
    let orders = [
        (0..13).collect::<Vec<_>>(),
        (0..14).rev().collect(),
        (0..15).collect(),
        (0..13).chain([3]).collect(),
        (1..13).collect(),
    ];
    let order = mostly_first(&orders, 4);
    (fields, order).prop_map(|(fields, order)| {
        format!("{{{}}}", order.iter().map(|index| &*fields[*index]).collect::<Vec<_>>().join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn faster_reader_returns_what_serde_json_returns(
        records in prop::collection::vec(any_record(), 0..4),
        extra in mostly_first(&["", r#""next":null,"#, r#""data":[],"#, r#""":1,"#, ","], 4),
        end in mostly_first(&["}", " }\n", "", "}}", ",}"], 8),
        change in prop::option::of((any::<Index>(), any::<u8>())),
    ) {
        let body = format!(r#"{{{extra}"data":[{}],"pagination":{PAGINATION}{end}"#, records.join(","));
        let mut bytes = body.into_bytes();
        if let Some((position, byte)) = change {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        if let Ok(body) = std::str::from_utf8(&bytes) {
            assert_like_serde_json(body);
        }
    }
}

/// Asserts that the faster reader reads a body as `serde_json` does, or not at all.
fn assert_like_serde_json(body: &str) {
    if let Some((records, pagination)) = documented::read(body) {
        let strict: StrictBody<'_> =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("serde_json rejects {body}: {error}"));
        assert_eq!((records, pagination), (strict.data.records, strict.pagination), "{body}");
    }
}

#[test]
fn faster_reader_agrees_with_serde_json_on_wrong_separators() {
    // Each of these fields comes first in one record and later in another.
    let first = |field: &str| {
        let others: Vec<_> = FIELDS_OF_RECORD.iter().filter(|other| **other != field).copied().collect();
        format!("{{{field},{}}}", others.join(","))
    };
    let records: Vec<_> = FIELDS_OF_RECORD.iter().map(|field| first(field)).collect();
    let body = page(&records.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(documented::read(&body).is_some());
    for (index, _) in body.match_indices([',', ':', '{', '}', '[', ']', '"']) {
        for wrong in [",", ":", "{", "}", "[", "]", "\"", "{{", " ", ""] {
            let mut changed = body.clone();
            changed.replace_range(index..=index, wrong);
            assert_like_serde_json(&changed);
        }
    }
}

#[test]
fn faster_reader_limits_the_keys_it_remembers() {
    let countless = r#""a":1,"b":1,"#.repeat(10_000);
    let record = RECORD.replacen('{', &format!("{{{countless}"), 1);
    let body = page(&[&record, RECORD]);
    let (records, _) = documented::read(&body).unwrap();
    assert_eq!(records[0], records[1]);
}

#[test]
fn faster_reader_reads_each_form_of_a_documented_page() {
    let spaced = RECORD.replace(':', " : ").replace("T09 : 24 : 00", "T09:24:00").replace("T17 : 40 : 12", "T17:40:12");
    let reversed = RECORD.trim_matches(['{', '}']).replace(r#"["voice","sms","mms"]"#, "[]");
    let reversed = format!("{{{}}}", reversed.split(',').rev().collect::<Vec<_>>().join(","));
    for record in
        [RECORD, &spaced, &reversed, &RECORD.replace("CA", r"Qu\u00e9bec"), &RECORD.replacen('{', r#"{"x":{},"#, 1)]
    {
        // Records of different orders on one page.
        for records in [vec![record], vec![record, RECORD, record, record], vec![RECORD, record, RECORD]] {
            for body in [page(&records), page(&records).replace("],\"pagination", "]\n,\"meta\":{},\"pagination")] {
                assert!(documented::read(&body).is_some_and(|(read, _)| read.len() == records.len()), "{body}");
            }
        }
    }
}

#[test]
fn malformed_record_does_not_affect_the_others_and_keeps_its_number_if_that_is_readable() {
    let number = Some("+14155550123");
    let positional =
        format!(r#"["+1","US","local","active","USD",1,0,null,null,null,null,null,null,{}]"#, ["null"; 3].join(","));
    for (malformed, e164, error) in [
        ("7", None, "the record is a number instead of an object"),
        ("null", None, "the record is null instead of an object"),
        (r#""x""#, None, "the record is a string instead of an object"),
        (&*positional, None, "the record is an array instead of an object"),
        ("{}", None, "e164 is missing"),
        (&*RECORD.replace(r#""status":"active","#, ""), number, "status is missing"),
        (&*RECORD.replace(r#""active""#, "null"), number, "status is null"),
        (&*RECORD.replace(r#""active""#, "7"), number, "status is a number instead of a string"),
        (&*RECORD.replace("local", r"\ud800"), number, "type is not valid Unicode"),
        (&*RECORD.replacen('{', r#"{"country":"CA","#, 1), number, "duplicate field `country`"),
        (&*RECORD.replacen('{', r#"{"e164":"+1","#, 1), None, "duplicate field `e164`"),
    ] {
        with_page(page(&[RECORD, malformed, RECORD]), |page| {
            let [record] = &page.malformed[..] else { panic!("{malformed}: {page:?}") };
            assert_eq!((page.records.len(), record.e164.as_deref()), (2, e164), "{malformed}");
            assert!(record.error.starts_with(error), "{malformed}: {}", record.error);
        });
    }
}

#[test]
fn invalid_utf8_costs_only_its_own_record() {
    let [before, after] = [page(&[RECORD, RECORD, RECORD]), page(&[])].map(String::into_bytes);
    let second = before.windows(4).enumerate().filter(|(_, window)| window == b"\"CA\"").nth(1).unwrap().0;
    let mut body = before;
    body[second + 1] = 0xff;
    with_page(&body, |page| {
        let malformed: Vec<_> = page.malformed.iter().map(|record| (&*record.error, record.e164.as_deref())).collect();
        assert_eq!(malformed, [("the record has a byte that is not UTF-8", Some("+14155550123"))]);
        assert_eq!((page.records.len(), &page.records[1].region), (2, &Some("CA".into())));
    });
    // Outside records and strings such a byte is an error.
    let mut body = after;
    body[0] = 0xff;
    assert!(matches!(parse_error(body), InvalidPage::NotAPage(_)));
}

#[test]
fn unreadable_optional_fields_are_left_out_and_named() {
    let long = format!("{:?}", "x".repeat(MAX_TEXT + 1));
    let wrong_types = ["7", "-7", "1.5", "true", r#"[1,["x"]]"#, r#"{"x":{}}"#, r#""\ud800""#, &long];
    for (field, value) in [
        (OptionalField::Region, r#""CA""#),
        (OptionalField::TrunkId, r#""trk_9f2c""#),
        (OptionalField::ApplicationId, "null"),
        (OptionalField::CreatedAt, r#""2025-03-11T09:24:00Z""#),
        (OptionalField::UpdatedAt, r#""2025-11-02T17:40:12Z""#),
    ] {
        let name = field.as_str();
        let documented = format!(r#""{name}":{value}"#);
        assert!(RECORD.contains(&documented));
        for wrong in wrong_types {
            with_page(page(&[&RECORD.replace(&documented, &format!(r#""{name}":{wrong}"#))]), |page| {
                let [record] = &page.records[..] else { panic!("{page:?}") };
                let unreadable: Vec<_> =
                    OptionalField::ALL.into_iter().filter(|field| record.unreadable.contains(*field)).collect();
                assert_eq!(unreadable, [field], "{name}: {wrong}");
                let is_none = match field {
                    OptionalField::Region => record.region.is_none(),
                    OptionalField::TrunkId => record.trunk_id.is_none(),
                    OptionalField::ApplicationId => record.application_id.is_none(),
                    OptionalField::CreatedAt => record.created_at.is_none(),
                    _ => record.updated_at.is_none(),
                };
                assert!(is_none && page.deviations.is_empty(), "{name}: {wrong}");
            });
        }
    }
}

#[test]
fn optional_text_is_decoded() {
    for (json, text) in [(r#""Québec""#, "Québec"), (r#""Qu\u00e9bec""#, "Québec"), (r#""a \"b\"""#, "a \"b\"")] {
        // A wrong type elsewhere makes no difference.
        for trunk in [r#""trk_9f2c""#, "7"] {
            let record = RECORD.replace(r#""CA""#, json).replace(r#""trk_9f2c""#, trunk);
            with_page(page(&[&record]), |page| assert_eq!(page.records[0].region.as_deref(), Some(text)));
        }
    }
}

#[test]
fn deviations_of_form_are_read_and_named() {
    let totals = |total: &str, pages: &str| {
        format!(r#"{{"data":[{RECORD}],"pagination":{{"total":{total},"total_pages":{pages}}}}}"#)
    };
    let with_timestamp = |text: &str| page(&[&RECORD.replace("2025-11-02T17:40:12Z", text)]);
    for (body, deviation) in [
        (totals(r#""1""#, "1"), Deviation::TotalAsString),
        (totals("1", r#""1""#), Deviation::TotalAsString),
        (totals("1.0", "1"), Deviation::TotalAsDecimal),
        (totals("1", "1e0"), Deviation::TotalAsDecimal),
        (format!("\u{feff}{}", page(&[RECORD])), Deviation::ByteOrderMark),
        (with_timestamp("2025-11-02 17:40:12Z"), Deviation::TimestampWithSpace),
        (with_timestamp("2025-11-02T17:40:12"), Deviation::TimestampWithoutZone),
        (with_timestamp("2025-11-02T17:40:12+0000"), Deviation::TimestampWithShortOffset),
    ] {
        with_page(&body, |page| {
            assert_eq!(page.deviations, [deviation].into(), "{body}");
            assert_eq!(page.pagination, Pagination { total: 1, total_pages: 1 }, "{body}");
            assert_eq!((page.records.len(), page.records[0].updated_at), (1, Some(1_762_105_212)), "{body}");
        });
    }
    with_page(r#"{"data":null,"pagination":{"total":0,"total_pages":0}}"#, |page| {
        assert_eq!((page.records.len(), page.deviations), (0, [Deviation::NullData].into()));
    });
}

#[test]
fn a_page_of_more_than_twice_the_requested_records_is_rejected() {
    let body = |count| format!(r#"{{"data":[{}],"pagination":{PAGINATION}}}"#, vec!["7"; count].join(","));
    for per_page in [1, 7, 100, 255] {
        let maximum = 2 * usize::from(per_page);
        let accepted = body(maximum);
        let text = PageText::new(accepted.as_bytes());
        assert_eq!(ListingPage::parse(&text, per_page).unwrap().malformed.len(), maximum);
        for records in [maximum + 1, 10 * maximum] {
            let rejected = body(records);
            let error = ListingPage::parse(&PageText::new(rejected.as_bytes()), per_page).unwrap_err();
            assert_eq!(error, InvalidPage::TooManyRecords { records, per_page });
        }
    }
    // Also if all of them are valid.
    assert_eq!(parse_error(page(&[RECORD; 201])), InvalidPage::TooManyRecords { records: 201, per_page: 100 });
}

#[test]
fn generation_window_contains_request_and_date_in_whole_seconds() {
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
    let window = |elapsed| GenerationWindow::of_response(date, Duration::from_millis(elapsed));
    assert_eq!(window(0), GenerationWindow { earliest: 100, latest: 101 });
    assert_eq!(window(20), GenerationWindow { earliest: 99, latest: 101 });
    assert_eq!(window(2001), GenerationWindow { earliest: 97, latest: 101 });
}

#[test]
fn body_that_is_not_a_page_is_an_error_without_quotes_from_it() {
    let valid = page(&[RECORD]);
    let truncated = &valid[..valid.len() - 1];
    let trailing = format!("{valid}x");
    let secret = format!("{:?}", "secret".repeat(1000));
    for invalid in [
        "",
        "null",
        "[]",
        "{}",
        "<html>",
        "[[],[0,0]]",
        r#"{"data":[]}"#,
        r#"{"data":[],"pagination":[0,0]}"#,
        r#"{"data":[],"pagination":{"total":0}}"#,
        r#"{"data":[],"pagination":{"total":0,"total":0,"total_pages":0}}"#,
        r#"{"data":[],"pagination":{"total":-1,"total_pages":0}}"#,
        r#"{"data":[],"pagination":{"total":0.5,"total_pages":0}}"#,
        r#"{"data":[],"pagination":{"total":true,"total_pages":0}}"#,
        r#"{"data":null,"pagination":null}"#,
        r#"{"data":null,"pagination":{"total":1,"total_pages":1}}"#,
        r#"{"data":{},"pagination":{"total":0,"total_pages":0}}"#,
        r#"{"pagination":{"total":0,"total_pages":0}}"#,
        truncated,
        &trailing,
        &secret,
        &format!(r#"{{"data":{secret},"pagination":{PAGINATION}}}"#),
        &format!(r#"{{"data":[],"pagination":{secret}}}"#),
        &format!(r#"{{"data":[],"pagination":{{"total":{secret},"total_pages":1}}}}"#),
    ] {
        let error = parse_error(invalid);
        assert!(matches!(error, InvalidPage::NotAPage(_)), "{invalid}: {error}");
        assert!(error.to_string().len() < 256 && !error.to_string().contains("secret"), "{error}");
    }
}
