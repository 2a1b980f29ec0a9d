//! Which of several processes polls an account.
//!
//! Accounts are assigned to shards by a hash of their name, so the processes need not talk to each other.

use std::str::FromStr;

/// The value of `--shard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shard {
    /// The ordinal at the end of the host name, as the pods of a Kubernetes `StatefulSet` have one.
    Auto,
    /// This ordinal, from 0.
    Ordinal(u32),
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Ordinal).map_err(|_| "must be auto or a whole number from 0".to_owned()),
        }
    }
}

impl Shard {
    /// Returns the ordinal.
    ///
    /// # Errors
    /// If it is to be taken from a host name that does not end in one.
    pub(super) fn resolve(self, host: &str) -> Result<u32, String> {
        match self {
            Self::Ordinal(ordinal) => Ok(ordinal),
            Self::Auto => {
                let digits = host.rsplit_once('-').map_or("", |(_, end)| end);
                let ordinal = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
                ordinal.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
                    format!(
                        "the host name {host:?} does not end in a number like tryvox-exporter-2; set it instead of auto"
                    )
                })
            }
        }
    }
}

/// Returns the shard of an account, from 0 to `shards` - 1: always the same for the same name, and when a shard is
/// added, one account in `shards` + 1 moves, always to the new shard.
///
/// This is jump consistent hash (Lamping and Veach, <https://arxiv.org/abs/1406.2294>).
#[must_use]
pub fn shard_of(name: &str, shards: u32) -> u32 {
    let mut key = stable_hash(name);
    let (mut shard, mut next) = (0, 0_u64);
    while next < u64::from(shards) {
        shard = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // (shard + 1) × 2³¹ ÷ ((key >> 33) + 1), in integers.
        next = ((shard + 1) << 31) / ((key >> 33) + 1);
    }
    u32::try_from(shard).unwrap_or_default()
}

/// Returns a hash that is the same in every version: FNV-1a
/// (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>) with its bits mixed by the finalizer of `MurmurHash3`,
/// so that names that differ only in their last letter are far apart.
#[must_use]
pub fn stable_hash(name: &str) -> u64 {
    let mut hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_spread_evenly_and_few_move_when_a_shard_is_added() {
        let names: Vec<_> = (0..10_000).map(|number| format!("account-{number}")).collect();
        for shards in 1..=9_u32 {
            let mut sizes = vec![0_u32; shards as usize];
            let mut moved = 0;
            for name in &names {
                let (now, later) = (shard_of(name, shards), shard_of(name, shards + 1));
                sizes[now as usize] += 1;
                if now != later {
                    assert_eq!(later, shards, "an account moves only to the new shard");
                    moved += 1;
                }
            }
            let even = 10_000 / shards;
            assert!(sizes.iter().all(|size| size.abs_diff(even) < even / 8 + 60), "{sizes:?}");
            assert!(10_000_u32.div_ceil(shards + 1).abs_diff(moved) < 300, "{shards}: {moved}");
        }
    }

    #[test]
    fn shard_of_a_name_never_changes() {
        // A version that assigns accounts to other shards would list them twice during a rollout.
        let placed = ["production", "acc_4XQ2", "", "東京"].map(|name| shard_of(name, 7));
        assert_eq!(placed, [5, 5, 1, 1]);
    }

    #[test]
    fn ordinal_is_given_or_taken_from_the_end_of_the_host_name() {
        assert_eq!("auto".parse::<Shard>().unwrap().resolve("tryvox-exporter-12"), Ok(12));
        assert_eq!("3".parse::<Shard>().unwrap().resolve("x-1"), Ok(3));
        for host in ["", "host", "12", "host-", "host-x1", "host-+1", "host-99999999999"] {
            assert!(Shard::Auto.resolve(host).is_err(), "{host}");
        }
        assert!("-1".parse::<Shard>().is_err());
    }
}
