//! What systemd is told (`sd_notify(3)`); nothing where it did not ask for it.

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

/// It listens, and polls so many accounts.
pub(super) fn ready(accounts: usize) {
    let status = format!("polling {accounts} account(s)");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The configuration is being read again; [`ready`] follows, however that goes.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "no monotonic clock to tell systemd of"),
    }
}

/// The end has come.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says again and again that the process works, for as long as its tasks are run, if systemd wants to
/// know.
pub(super) async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    // Twice as often as need be, as `sd_watchdog_enabled(3)` has it.
    let mut beat = interval((limit / 2).max(std::time::Duration::from_millis(1)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "systemd cannot be told");
    }
}
