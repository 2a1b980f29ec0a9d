//! What commands share that print rows as CSV or JSON.

use std::io;

use serde_json::value::RawValue;

/// Returns the I/O error itself, whose kind the conversion that `csv` has would hide.
pub(super) fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Returns the digits of an amount as a JSON number; `None` if they are none.
pub(super) fn exact_number(amount: &str) -> Option<Box<RawValue>> {
    serde_json::from_str::<serde_json::Number>(amount).ok()?;
    RawValue::from_string(amount.to_owned()).ok()
}
