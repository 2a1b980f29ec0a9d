//! The options of `list`.

use clap::{ArgAction, Args};

use crate::options::{List, list};

/// What a number can be assigned to.
const ASSIGNMENTS: [&str; 4] = ["trunk", "application", "both", "none"];

/// Which numbers `list` prints.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "List")]
pub struct ListOptions {
    /// List only numbers in these countries, comma-separated or repeated
    #[arg(id = "country", long, value_name = "COUNTRIES", action = ArgAction::Append, value_parser = texts)]
    pub countries: Option<List<String>>,
    /// List only numbers with these statuses, comma-separated or repeated
    #[arg(id = "status", long, value_name = "STATUSES", action = ArgAction::Append, value_parser = texts)]
    pub statuses: Option<List<String>>,
    /// List only numbers of these types, comma-separated or repeated
    #[arg(id = "type", long, value_name = "TYPES", action = ArgAction::Append, value_parser = texts)]
    pub types: Option<List<String>>,
    /// List only numbers that are assigned to a trunk, an application, both or none, comma-separated or repeated
    #[arg(id = "assignment", long, value_name = "ASSIGNMENTS", action = ArgAction::Append, value_parser = assignments)]
    pub assignments: Option<List<String>>,
    /// List only numbers of these owners, comma-separated or repeated, a name with a comma in double quotes; an empty name
    /// stands for numbers without owner
    #[arg(id = "owner", long, value_name = "OWNERS", action = ArgAction::Append, value_parser = owners)]
    pub owners: Option<List<String>>,
}

/// Parses texts that must not be empty.
fn texts(text: &str) -> Result<List<String>, String> {
    list(text, |text| !text.is_empty(), "empty; remove the comma, or the option to list all numbers")
}

/// Parses assignments.
fn assignments(text: &str) -> Result<List<String>, String> {
    list(text, |text| ASSIGNMENTS.contains(&text), "not an assignment; write trunk, application, both or none")
}

/// Parses names of owners, which may be empty.
fn owners(text: &str) -> Result<List<String>, String> {
    list(text, |_| true, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_owners_may_be_empty() {
        assert_eq!(owners(""), Ok(vec![String::new()]));
        assert_eq!(owners("support, ,support"), Ok(vec!["support".to_owned(), String::new()]));
        assert_eq!(texts("US, DE"), Ok(vec!["US".to_owned(), "DE".to_owned()]));
        assert_eq!(assignments("none,both"), Ok(vec!["none".to_owned(), "both".to_owned()]));
        assert!(texts("US,").is_err() && texts("").is_err() && assignments("").is_err());
        assert!(assignments("none,trunks").unwrap_err().contains("trunk, application, both or none"));
    }
}
