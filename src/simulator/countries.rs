//! The countries in which simulated numbers are sold, with their regions and prices.

/// A country in which numbers are sold.
#[derive(Debug)]
pub(super) struct Country {
    /// ISO 3166-1 alpha-2 code.
    pub(super) code: &'static str,
    /// The digits that all numbers of the country start with: the calling code and perhaps an area code.
    pub(super) prefix: u64,
    /// The number of digits after the prefix.
    pub(super) subscriber_digits: u32,
    /// ISO 4217 code of the currency of all fees.
    pub(super) currency: &'static str,
    /// The share of all numbers, relative to the weights of the other countries.
    pub(super) weight: u32,
    /// Monthly fees in thousandths of a currency unit, in the order of [`NUMBER_TYPES`].
    pub(super) monthly_fees: [u32; 3],
    /// Setup fees in thousandths of a currency unit, in the order of [`NUMBER_TYPES`].
    pub(super) setup_fees: [u32; 3],
    /// The regions as the API spells them.
    pub(super) regions: &'static [&'static str],
}

/// The types of numbers, in the order of a country's fees.
pub(super) const NUMBER_TYPES: [&str; 3] = ["local", "toll_free", "mobile"];

/// Fees have fractions of a cent, and region names contain quotes, backslashes and non-ASCII letters, because real
/// ones do and a client has to handle them.
pub(super) static COUNTRIES: [Country; 13] = [
    Country {
        code: "US",
        prefix: 1415,
        subscriber_digits: 7,
        currency: "USD",
        weight: 38,
        monthly_fees: [1_150, 2_150, 1_325],
        setup_fees: [0, 0, 500],
        regions: &["CA", "NY", "TX", "WA", "FL", "IL", "MA"],
    },
    Country {
        code: "CA",
        prefix: 1514,
        subscriber_digits: 7,
        currency: "USD",
        weight: 9,
        monthly_fees: [1_150, 2_150, 1_455],
        setup_fees: [0, 0, 500],
        regions: &["Québec", "Ontario", "British Columbia", "Île-du-Prince-Édouard"],
    },
    Country {
        code: "GB",
        prefix: 44,
        subscriber_digits: 10,
        currency: "USD",
        weight: 10,
        monthly_fees: [1_125, 2_750, 3_295],
        setup_fees: [0, 1_000, 1_000],
        regions: &["England", "Scotland", "Cymru \"Wales\"", "Northern Ireland"],
    },
    Country {
        code: "DE",
        prefix: 49,
        subscriber_digits: 10,
        currency: "EUR",
        weight: 9,
        monthly_fees: [855, 16_995, 5_505],
        setup_fees: [1_000, 25_000, 1_000],
        regions: &["Baden-Württemberg", "Bayern", "Thüringen", "Berlin"],
    },
    Country {
        code: "FR",
        prefix: 33,
        subscriber_digits: 9,
        currency: "EUR",
        weight: 7,
        monthly_fees: [945, 14_995, 4_255],
        setup_fees: [0, 12_500, 1_000],
        regions: &["Île-de-France", "Provence-Alpes-Côte d'Azur", "Bretagne"],
    },
    Country {
        code: "ES",
        prefix: 34,
        subscriber_digits: 9,
        currency: "EUR",
        weight: 5,
        monthly_fees: [1_045, 12_345, 4_005],
        setup_fees: [0, 9_900, 1_000],
        regions: &["Cataluña", "Andalucía", "País Vasco"],
    },
    Country {
        code: "NL",
        prefix: 31,
        subscriber_digits: 9,
        currency: "EUR",
        weight: 4,
        monthly_fees: [1_005, 11_115, 4_505],
        setup_fees: [500, 9_900, 500],
        regions: &["Noord-Holland", "'s-Gravenhage"],
    },
    Country {
        code: "PL",
        prefix: 48,
        subscriber_digits: 9,
        currency: "EUR",
        weight: 3,
        monthly_fees: [1_155, 13_335, 4_995],
        setup_fees: [500, 9_900, 500],
        regions: &["Łódzkie", "Małopolskie"],
    },
    Country {
        code: "SE",
        prefix: 46,
        subscriber_digits: 9,
        currency: "EUR",
        weight: 3,
        monthly_fees: [1_205, 15_005, 2_995],
        setup_fees: [0, 15_000, 0],
        regions: &["Västra Götaland", "Skåne"],
    },
    Country {
        code: "BR",
        prefix: 55,
        subscriber_digits: 11,
        currency: "USD",
        weight: 4,
        monthly_fees: [4_255, 24_005, 9_005],
        setup_fees: [4_000, 20_000, 4_000],
        regions: &["São Paulo", "Rio de Janeiro"],
    },
    Country {
        code: "AU",
        prefix: 61,
        subscriber_digits: 9,
        currency: "USD",
        weight: 4,
        monthly_fees: [3_005, 16_005, 6_505],
        setup_fees: [0, 10_000, 0],
        regions: &["New South Wales", "Victoria"],
    },
    Country {
        code: "JP",
        prefix: 81,
        subscriber_digits: 10,
        currency: "USD",
        weight: 3,
        monthly_fees: [4_505, 22_505, 18_005],
        setup_fees: [0, 20_000, 0],
        regions: &["東京都", "大阪府"],
    },
    Country {
        code: "IN",
        prefix: 91,
        subscriber_digits: 10,
        currency: "USD",
        weight: 1,
        monthly_fees: [3_335, 11_005, 2_505],
        setup_fees: [2_000, 10_000, 2_000],
        regions: &["Mahārāshtra", "Delhi\\NCR"],
    },
];
