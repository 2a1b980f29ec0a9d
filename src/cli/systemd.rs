//! Notifications to systemd (`sd_notify(3)`): ready, reloading, stopping and watchdog pings. Outside a systemd service
//! that expects them, none are sent.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

/// Notifies systemd that the exporter listens and polls this many accounts.
pub(super) fn notify_ready(accounts: usize) {
    let status = match accounts {
        1 => "polling 1 account".to_owned(),
        _ => format!("polling {accounts} accounts"),
    };
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Notifies systemd that the configuration is being reloaded. [`notify_ready`] has to follow whether the reload succeeds
/// or fails.
pub(super) fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "cannot read the monotonic clock"),
    }
}

/// Notifies systemd that the exporter is shutting down.
pub(super) fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Pings the watchdog forever, or returns at once if systemd does not expect pings. The pings stop when the runtime no
/// longer runs its tasks, which makes systemd restart the exporter.
pub(super) async fn ping_watchdog() {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    // Half of the timeout, as `sd_watchdog_enabled(3)` recommends. An interval of zero would panic.
    let mut ticks = interval((timeout / 2).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "cannot notify systemd");
    }
}
