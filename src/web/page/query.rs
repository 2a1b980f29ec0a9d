//! The query of the page's address, which selects the accounts on the page.

use serde::Deserialize;

/// The query parameters; an invalid value is treated as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::web) struct PageQuery {
    /// Selects accounts whose names contain this, ignoring case.
    pub(super) q: String,
    /// Selects accounts with this status; empty or `all` selects any.
    pub(super) show: String,
    /// The page of the selected accounts, from 1.
    pub(super) page: String,
}

impl PageQuery {
    /// Returns whether fewer than all accounts may be selected.
    pub(super) fn is_filtered(&self) -> bool {
        !self.q.is_empty() || !matches!(&*self.show, "" | "all")
    }

    /// Returns the address of a page of the same accounts, relative to any of them.
    pub(super) fn link_to_page(&self, page: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("q", &self.q), ("show", &self.show)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.append_pair("page", &page.to_string());
        format!("?{}#accounts", query.finish())
    }
}
