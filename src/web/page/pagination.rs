//! Links to the pages of a list of accounts.

use super::query::PageQuery;

/// Maximum number of accounts on a page.
pub(super) const ACCOUNTS_PER_PAGE: usize = 12;

#[derive(Debug)]
pub(super) struct PageLink {
    pub(super) name: String,
    /// Empty for the current page and for gaps.
    pub(super) address: String,
    pub(super) is_current: bool,
}

/// Returns links to the first page, the last page, and those around `current`.
pub(super) fn page_links(query: &PageQuery, current: usize, last: usize) -> Vec<PageLink> {
    let link = |name: &str, page: usize| PageLink {
        name: name.to_owned(),
        address: if page == current { String::new() } else { query.link_to_page(page) },
        is_current: page == current,
    };
    let mut links = Vec::new();
    if current > 1 {
        links.push(link("Previous", current - 1));
    }
    let mut previous = 0;
    for page in (1..=last).filter(|page| page.abs_diff(current) <= 2 || *page == 1 || *page == last) {
        if page > previous + 1 {
            links.push(PageLink { name: "…".to_owned(), address: String::new(), is_current: false });
        }
        links.push(link(&page.to_string(), page));
        previous = page;
    }
    if current < last {
        links.push(link("Next", current + 1));
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_ends_and_to_the_neighbors() {
        let names = |current, last| {
            let links = page_links(&PageQuery::default(), current, last);
            links.iter().map(|link| link.name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(1, 1), "1");
        assert_eq!(names(1, 3), "1 2 3 Next");
        assert_eq!(names(10, 20), "Previous 1 … 8 9 10 11 12 … 20 Next");
        let query = PageQuery { q: "a&b".to_owned(), ..PageQuery::default() };
        assert_eq!(page_links(&query, 1, 2)[1].address, "?q=a%26b&page=2#accounts");
    }
}
