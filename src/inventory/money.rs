//! Exact amounts of money: the digits of a JSON number go in, sums and products are exact, and rounding happens only
//! once, in [`Money::to_f64`].

use std::fmt;
use std::ops::{AddAssign, Mul, Neg, Sub};
use std::str::FromStr;

use bigdecimal::BigDecimal;
use serde::{Deserialize, Serialize};

/// An exact decimal amount, in units of an unspecified currency.
///
/// It is parsed from the digits of a JSON number (RFC 8259, section 6) and never converted to binary floating point,
/// so sums are exact, no matter how many amounts they have:
///
/// ```
/// use tryvox_exporter::inventory::Money;
///
/// let fee: Money = "1.15".parse()?;
/// assert_eq!((fee * 100_000).to_f64(), 115_000.0);
/// # Ok::<(), tryvox_exporter::inventory::InvalidMoney>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Money(BigDecimal);

/// The text is not a JSON number, or is longer, larger or finer than any price.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("fee is not a number of at most {MAX_LENGTH} characters between 1e-{MAX_EXPONENT} and 1e{MAX_EXPONENT}")]
pub struct InvalidMoney;

/// Maximum length of an amount in bytes, which bounds the time it takes to parse a record.
const MAX_LENGTH: usize = 128;

/// Maximum number of digits before and of digits after the decimal point, so that any sum of amounts is within the
/// range of a double.
const MAX_EXPONENT: u64 = 200;

impl Money {
    /// Returns the double nearest to the exact amount.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        // The standard library parses decimals of any length to the nearest double, ties to even. `BigDecimal`'s own
        // conversion does not promise that.
        self.0.to_string().parse().unwrap_or(f64::NAN)
    }
}

impl FromStr for Money {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        // `BigDecimal` also parses `+1`, `.5` and `1_000`, which are not JSON numbers.
        let is_json_number = text.len() <= MAX_LENGTH && serde_json::from_str::<serde_json::Number>(text).is_ok();
        if !is_json_number {
            return Err(InvalidMoney);
        }
        let amount: BigDecimal = text.parse().map_err(|_| InvalidMoney)?;
        let (_, scale) = amount.as_bigint_and_scale();
        let integer_digits = i128::from(amount.digits()) - i128::from(scale);
        if scale.unsigned_abs() > MAX_EXPONENT || integer_digits > i128::from(MAX_EXPONENT) {
            return Err(InvalidMoney);
        }
        Ok(Self(amount))
    }
}

impl From<Money> for String {
    fn from(amount: Money) -> Self {
        amount.to_string()
    }
}

impl TryFrom<String> for Money {
    type Error = InvalidMoney;

    /// Parses a sum, which may be longer than a single amount.
    fn try_from(text: String) -> Result<Self, InvalidMoney> {
        let amount: BigDecimal = text.parse().map_err(|_| InvalidMoney)?;
        let (_, scale) = amount.as_bigint_and_scale();
        // An amount of few digits with a large exponent would have many when it is added or formatted.
        if scale.unsigned_abs() > 2 * MAX_EXPONENT {
            return Err(InvalidMoney);
        }
        Ok(Self(amount))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Money {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Money {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Mul<u64> for Money {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self(self.0 * BigDecimal::from(times))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn single_amount_converts_to_the_same_double_as_its_text(
            text in r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?"
        ) {
            prop_assert_eq!(text.parse::<Money>().unwrap().to_f64(), text.parse::<f64>().unwrap());
        }

        #[test]
        fn sums_equal_integer_sums_in_thousandths(amounts in prop::collection::vec((-1_000_000_i64..1_000_000, 0_u64..1000), 0..50)) {
            let mut sum = Money::default();
            let mut thousandths = 0_i128;
            for (amount, times) in amounts {
                let text = format!("{}{}.{:03}", if amount < 0 { "-" } else { "" }, amount.abs() / 1000, amount.abs() % 1000);
                sum += text.parse::<Money>().unwrap() * times;
                thousandths += i128::from(amount) * i128::from(times);
            }
            prop_assert_eq!(sum.to_f64(), format!("{thousandths}e-3").parse::<f64>().unwrap());
            prop_assert_eq!(Money::try_from(String::from(sum.clone())).unwrap(), sum);
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = text.parse::<Money>();
        }
    }

    #[test]
    fn anything_but_a_json_number_of_reasonable_size_is_rejected() {
        let long = format!("0.{}", "1".repeat(MAX_LENGTH));
        for text in [
            "",
            "1.",
            ".5",
            "+1",
            "01",
            "1_000",
            "NaN",
            "null",
            "\"1.15\"",
            " ",
            "1e400",
            "10e200",
            "123456789e195",
            "1e-400",
            "1e99999999999999999999",
            &long,
        ] {
            assert_eq!(text.parse::<Money>(), Err(InvalidMoney), "{text}");
        }
    }

    #[test]
    fn adding_a_cent_to_a_huge_amount_loses_nothing() {
        let mut sum = "1e30".parse::<Money>().unwrap();
        sum += "0.01".parse().unwrap();
        sum += "-1e30".parse().unwrap();
        assert_eq!(sum, "0.01".parse().unwrap());
    }
}
