//! The `process_*` families, which the client libraries of Prometheus have in common. They are read from procfs.

use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::metric::Metric;

/// The status of this process. What the system does not show is absent.
#[derive(Debug)]
pub(super) struct ProcessStatus {
    stat: Option<ProcessStat>,
    started_at: Option<f64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

type ProcessMetric = Metric<ProcessStatus>;

/// The families of the process, in the order of the exposition.
pub(super) static PROCESS: &[ProcessMetric] = &[
    ProcessMetric::counter(
        "process_cpu_seconds_total",
        &[],
        "Total user and system CPU time spent in seconds.",
        |process, samples| {
            if let Some(stat) = &process.stat {
                samples.push([], seconds(stat.cpu_ticks));
            }
        },
    ),
    ProcessMetric::gauge("process_open_fds", &[], "Number of open file descriptors.", |process, samples| {
        if let Some(open) = process.open_fds {
            samples.push([], open);
        }
    }),
    ProcessMetric::gauge("process_max_fds", &[], "Maximum number of open file descriptors.", |process, samples| {
        if let Some(max) = process.max_fds {
            samples.push([], max);
        }
    }),
    ProcessMetric::gauge("process_virtual_memory_bytes", &[], "Virtual memory size in bytes.", |process, samples| {
        if let Some(stat) = &process.stat {
            samples.push([], stat.virtual_memory);
        }
    }),
    ProcessMetric::gauge("process_resident_memory_bytes", &[], "Resident memory size in bytes.", |process, samples| {
        if let Some(stat) = &process.stat {
            samples.push([], stat.resident_pages * page_size() as u64);
        }
    }),
    ProcessMetric::gauge(
        "process_start_time_seconds",
        &[],
        "Start time of the process since unix epoch in seconds.",
        |process, samples| {
            if let Some(started_at) = process.started_at {
                samples.push([], started_at);
            }
        },
    ),
    ProcessMetric::gauge("process_threads", &[], "Number of OS threads in the process.", |process, samples| {
        if let Some(stat) = &process.stat {
            samples.push([], stat.threads);
        }
    }),
];

impl ProcessStatus {
    /// Reads the status of this process, which was started at `started_at`.
    pub(super) fn read(started_at: Option<f64>) -> Self {
        Self {
            stat: ProcessStat::read(),
            started_at,
            // One of them is open only to count them.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() as u64).saturating_sub(1)),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

/// Returns when this process started, in seconds since the epoch.
pub(super) fn read_start_time() -> Option<f64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let booted_at = system.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
    let after_boot = seconds(ProcessStat::read()?.start_ticks);
    Some(Duration::from_secs(booted_at).as_secs_f64() + after_boot)
}

/// Returns clock ticks in seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 ticks are millions of years")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// Fields of `/proc/self/stat`, see `proc_pid_stat(5)`.
#[derive(Debug, PartialEq)]
struct ProcessStat {
    /// User and system time together.
    cpu_ticks: u64,
    threads: u64,
    /// The time from the start of the system to that of the process.
    start_ticks: u64,
    /// In bytes.
    virtual_memory: u64,
    resident_pages: u64,
}

impl ProcessStat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The second field, the name of the program, may contain spaces and parentheses.
        let (_, fields) = line.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        // Counted from 1, as in the manual; the first here is the third there.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_memory: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_name_of_the_program() {
        for name in ["tryvox-exporter", "a) R 1 (b", ""] {
            let line = format!(
                "7 ({name}) S 1 7 7 0 -1 4194560 900 0 0 0 123 45 0 0 20 0 9 0 6789 1048576 321 18446744073709551615 1 1\n"
            );
            let stat = ProcessStat {
                cpu_ticks: 168,
                threads: 9,
                start_ticks: 6789,
                virtual_memory: 1_048_576,
                resident_pages: 321,
            };
            assert_eq!(ProcessStat::parse(&line), Some(stat), "{name}");
        }
        for invalid in ["", "7 (x", "7 (x) S 1 2 3", "7 (x) S 1 7 7 0 -1 4194560 900 0 0 0 a b 0 0 20 0 9 0 6789 1 1"] {
            assert_eq!(ProcessStat::parse(invalid), None, "{invalid}");
        }
    }
}
