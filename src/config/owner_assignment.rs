//! Which owners apply to which account.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::accounts::AccountConfig;
use super::file::Document;
use super::owner_coverage::coverage_warnings;
use super::owners::{OwnerEntry, Placed};
use crate::inventory::{Money, OwnerMatcher, Owners};

/// Maximum monthly fees over all accounts, by owner and currency.
pub type OwnerBudgets = BTreeMap<Arc<str>, BTreeMap<String, Money>>;

/// What the owners of a configuration are besides those of its accounts.
#[derive(Debug, Default)]
pub(super) struct OwnerSettings {
    pub(super) names: BTreeSet<Arc<str>>,
    pub(super) budgets: OwnerBudgets,
    pub(super) warnings: Vec<String>,
}

/// Gives each account, of all shards, the owners that apply to it, and adds everything that is wrong to `problems`.
pub(super) fn assign_owners(
    path: &str,
    document: &Document,
    accounts: &mut [AccountConfig],
    problems: &mut Vec<String>,
) -> OwnerSettings {
    let entries = &*document.owners;
    if entries.is_empty() {
        return OwnerSettings::default();
    }
    let written = document.accounts.iter().flatten().filter_map(|account| account.name());
    let names: HashSet<&str> = accounts.iter().map(|account| &*account.name).chain(written).collect();
    // Without any account something else is wrong.
    let unknown = |account: &&Placed<String>| !names.is_empty() && !names.contains(&*account.value);
    for Placed { position, value } in entries.iter().flat_map(|owner| &owner.accounts).filter(unknown) {
        problems.push(format!(
            "{path}:{position}: owners.accounts: {value}: is not the name of an account in this file; correct or remove it"
        ));
    }
    let warnings = coverage_warnings(path, entries, names.len());

    // Each owner that not all accounts have, by account.
    let mut of_account: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut has_all_accounts = vec![true; entries.len()];
    for ((index, owner), has_all) in entries.iter().enumerate().zip(&mut has_all_accounts) {
        let accounts: HashSet<&str> = owner.accounts.iter().map(|account| &*account.value).collect();
        *has_all = accounts.is_empty() || accounts.is_superset(&names);
        if !*has_all {
            for account in accounts {
                of_account.entry(account).or_default().push(index);
            }
        }
    }
    let owners = Owners::common(entries.iter().map(matcher).collect(), &has_all_accounts);
    let mut by_list: HashMap<&[usize], Arc<Owners>> = HashMap::new();
    for account in accounts {
        let list = of_account.get(&*account.name).map_or(&[][..], Vec::as_slice);
        account.owners = by_list.entry(list).or_insert_with(|| Arc::new(owners.with_own(list))).clone();
    }
    let budgets = entries.iter().filter(|owner| !owner.budget.is_empty());
    OwnerSettings {
        names: entries.iter().map(|owner| Arc::from(&*owner.name)).collect(),
        budgets: budgets.map(|owner| (Arc::from(&*owner.name), owner.budget.clone())).collect(),
        warnings,
    }
}

fn matcher(owner: &OwnerEntry) -> OwnerMatcher {
    let texts = |list: &[Placed<String>]| list.iter().map(|text| text.value.clone()).collect();
    OwnerMatcher {
        name: owner.name.as_str().into(),
        countries: texts(&owner.countries),
        numbers: owner.numbers.iter().map(|number| number.value).collect(),
        trunks: texts(&owner.trunks),
        applications: texts(&owner.applications),
    }
}
