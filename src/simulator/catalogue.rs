//! What can be bought: countries, their regions and prices.

/// A country that sells numbers.
#[derive(Debug)]
pub(super) struct Country {
    /// ISO 3166-1 alpha-2.
    pub(super) code: &'static str,
    /// Its calling code and the digits that follow it.
    pub(super) prefix: &'static str,
    pub(super) digits: u32,
    pub(super) currency: &'static str,
    /// The share of all numbers, relative to the other countries.
    pub(super) weight: u32,
    /// Monthly fees of local, toll-free and mobile numbers, in thousandths.
    pub(super) monthly: [u32; 3],
    /// Setup fees of the same, in thousandths.
    pub(super) setup: [u32; 3],
    pub(super) regions: &'static [&'static str],
}

/// Prices have cents and tenths of cents; region names have quotes, backslashes and letters that
/// are not ASCII, as real ones have.
pub(super) static COUNTRIES: [Country; 13] = [
    Country {
        code: "US",
        prefix: "1415",
        digits: 7,
        currency: "USD",
        weight: 38,
        monthly: [1_150, 2_150, 1_325],
        setup: [0, 0, 500],
        regions: &["CA", "NY", "TX", "WA", "FL", "IL", "MA"],
    },
    Country {
        code: "CA",
        prefix: "1514",
        digits: 7,
        currency: "USD",
        weight: 9,
        monthly: [1_150, 2_150, 1_455],
        setup: [0, 0, 500],
        regions: &["Québec", "Ontario", "British Columbia", "Île-du-Prince-Édouard"],
    },
    Country {
        code: "GB",
        prefix: "44",
        digits: 10,
        currency: "USD",
        weight: 10,
        monthly: [1_125, 2_750, 3_295],
        setup: [0, 1_000, 1_000],
        regions: &["England", "Scotland", "Cymru \"Wales\"", "Northern Ireland"],
    },
    Country {
        code: "DE",
        prefix: "49",
        digits: 10,
        currency: "EUR",
        weight: 9,
        monthly: [855, 16_995, 5_505],
        setup: [1_000, 25_000, 1_000],
        regions: &["Baden-Württemberg", "Bayern", "Thüringen", "Berlin"],
    },
    Country {
        code: "FR",
        prefix: "33",
        digits: 9,
        currency: "EUR",
        weight: 7,
        monthly: [945, 14_995, 4_255],
        setup: [0, 12_500, 1_000],
        regions: &["Île-de-France", "Provence-Alpes-Côte d'Azur", "Bretagne"],
    },
    Country {
        code: "ES",
        prefix: "34",
        digits: 9,
        currency: "EUR",
        weight: 5,
        monthly: [1_045, 12_345, 4_005],
        setup: [0, 9_900, 1_000],
        regions: &["Cataluña", "Andalucía", "País Vasco"],
    },
    Country {
        code: "NL",
        prefix: "31",
        digits: 9,
        currency: "EUR",
        weight: 4,
        monthly: [1_005, 11_115, 4_505],
        setup: [500, 9_900, 500],
        regions: &["Noord-Holland", "'s-Gravenhage"],
    },
    Country {
        code: "PL",
        prefix: "48",
        digits: 9,
        currency: "EUR",
        weight: 3,
        monthly: [1_155, 13_335, 4_995],
        setup: [500, 9_900, 500],
        regions: &["Łódzkie", "Małopolskie"],
    },
    Country {
        code: "SE",
        prefix: "46",
        digits: 9,
        currency: "EUR",
        weight: 3,
        monthly: [1_205, 15_005, 2_995],
        setup: [0, 15_000, 0],
        regions: &["Västra Götaland", "Skåne"],
    },
    Country {
        code: "BR",
        prefix: "55",
        digits: 11,
        currency: "USD",
        weight: 4,
        monthly: [4_255, 24_005, 9_005],
        setup: [4_000, 20_000, 4_000],
        regions: &["São Paulo", "Rio de Janeiro"],
    },
    Country {
        code: "AU",
        prefix: "61",
        digits: 9,
        currency: "USD",
        weight: 4,
        monthly: [3_005, 16_005, 6_505],
        setup: [0, 10_000, 0],
        regions: &["New South Wales", "Victoria"],
    },
    Country {
        code: "JP",
        prefix: "81",
        digits: 10,
        currency: "USD",
        weight: 3,
        monthly: [4_505, 22_505, 18_005],
        setup: [0, 20_000, 0],
        regions: &["東京都", "大阪府"],
    },
    Country {
        code: "IN",
        prefix: "91",
        digits: 10,
        currency: "USD",
        weight: 1,
        monthly: [3_335, 11_005, 2_505],
        setup: [2_000, 10_000, 2_000],
        regions: &["Mahārāshtra", "Delhi\\NCR"],
    },
];

/// The types, in the order of a country's prices.
pub(super) const KINDS: [&str; 3] = ["local", "toll_free", "mobile"];
