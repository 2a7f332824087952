//! CPU time of this process and of servers, each with all of its children.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

/// CPU time used by one process tree.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used(pub(super) Duration);

/// CPU time of each process tree at one moment.
pub(super) type Reading = Vec<(String, Duration)>;

/// Reads CPU times.
pub(super) struct Clock {
    processes: Vec<(String, u32)>,
}

impl Clock {
    /// This process, and servers given as `name=pid`.
    pub(super) fn new(servers: &[String]) -> anyhow::Result<Self> {
        let mut processes = vec![("redline".to_owned(), std::process::id())];
        for server in servers {
            let (name, pid) = server
                .split_once('=')
                .context("--server is not of the form NAME=PID")?;
            processes.push((
                name.to_owned(),
                pid.parse()
                    .with_context(|| format!("--server {server}: no pid"))?,
            ));
        }
        Ok(Self { processes })
    }

    /// CPU times so far.
    pub(super) fn read(&self) -> anyhow::Result<Reading> {
        let all = all_processes()?;
        self.processes
            .iter()
            .map(|(name, pid)| {
                let ticks = tree(*pid, &all).with_context(|| format!("{name}: there is no process {pid}"))?;
                // Linux counts in hundredths of a second (USER_HZ).
                Ok((name.clone(), Duration::from_millis(ticks * 10)))
            })
            .collect()
    }

    /// CPU times since a reading.
    pub(super) fn since(&self, before: &Reading) -> anyhow::Result<Vec<(String, Used)>> {
        let now = self.read()?;
        Ok(now
            .into_iter()
            .zip(before)
            .map(|((name, now), (_, before))| (name, Used(now.saturating_sub(*before))))
            .collect())
    }
}

/// What /proc says of a process.
struct Process {
    parent: u32,
    /// Own ticks, and those of children that ended.
    ticks: u64,
}

fn all_processes() -> anyhow::Result<HashMap<u32, Process>> {
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc").context("/proc is needed to count CPU time")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while it is looked at.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some(process) = parse(&stat) {
            processes.insert(pid, process);
        }
    }
    Ok(processes)
}

/// The fields behind the name in parentheses: 2 is the parent, 12 to 15 are utime, stime, cutime, cstime.
fn parse(stat: &str) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = fields
        .get(11..15)?
        .iter()
        .map(|field| field.parse::<u64>().unwrap_or(0))
        .sum();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        ticks,
    })
}

/// Ticks of a process and everything below it.
fn tree(pid: u32, all: &HashMap<u32, Process>) -> Option<u64> {
    let own = all.get(&pid)?.ticks;
    let children = all.iter().filter(|(_, process)| process.parent == pid);
    Some(own + children.filter_map(|(child, _)| tree(*child, all)).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_counts_with_its_children() {
        let stat = |pid: u32, parent: u32, ticks: u64| {
            parse(&format!(
                "{pid} (a ) b) S {parent} 0 0 0 0 0 0 0 0 0 {ticks} 1 0 0 20"
            ))
            .unwrap()
        };
        let all = HashMap::from([
            (1, stat(1, 0, 10)),
            (2, stat(2, 1, 20)),
            (3, stat(3, 2, 30)),
            (4, stat(4, 9, 40)),
        ]);
        assert_eq!(tree(1, &all), Some(63));
        assert_eq!(tree(7, &all), None);
    }
}
