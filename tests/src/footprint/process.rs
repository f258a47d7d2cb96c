//! What the kernel says of a process: memory, threads, wake-ups, processor time, connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};

/// Looks at a process again and again, and at the one that follows it after a reboot.
#[derive(Debug)]
pub struct Meter {
    /// The API server's port.
    port: u16,
    looks: Vec<Look>,
    /// Of each thread, by process and thread: how often it slept, first and last.
    sleeps: BTreeMap<(u32, u32), (u64, u64)>,
    /// Of each process: its processor time in clock ticks, first and last.
    ticks: BTreeMap<u32, (u64, u64)>,
    processes: BTreeSet<u32>,
}

/// One look.
#[derive(Clone, Copy, Debug)]
struct Look {
    resident_kib: u64,
    peak_kib: u64,
    threads: u64,
    connections: u64,
}

/// What was seen in all looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Resident memory, in KiB: half of the time it was at most this.
    pub resident_kib: u64,
    /// The most that it ever was, in KiB.
    pub peak_kib: u64,
    /// Threads, half of the time.
    pub threads: u64,
    /// The most at once.
    pub threads_most: u64,
    /// Connections to the API server, half of the time.
    pub connections: u64,
    /// The most at once.
    pub connections_most: u64,
    /// How often it slept and was woken (voluntary context switches of all threads).
    pub wakes: u64,
    /// Processor time, in milliseconds.
    pub cpu_millis: u64,
}

impl Meter {
    /// `port` is the API server's.
    pub fn new(port: u16) -> Self {
        Self {
            port,
            looks: Vec::new(),
            sleeps: BTreeMap::new(),
            ticks: BTreeMap::new(),
            processes: BTreeSet::new(),
        }
    }

    /// Looks once.
    ///
    /// # Errors
    /// There is no such process.
    pub fn look(&mut self, pid: u32) -> Result<()> {
        let status = read(&format!("/proc/{pid}/status"))?;
        let stat = read(&format!("/proc/{pid}/stat"))?;
        // A process that comes after the first one began within what is measured.
        let began_before = self.processes.is_empty() || self.processes.contains(&pid);
        self.processes.insert(pid);
        let ticks = ticks(&stat).context("the kernel says no processor time")?;
        let first = if began_before { ticks } else { 0 };
        let seen = self.ticks.entry(pid).or_insert((first, ticks));
        seen.1 = ticks;
        let threads = threads(pid)?;
        let known = self.sleeps.keys().any(|(process, _)| *process == pid);
        for (thread, sleeps) in &threads {
            let first = if began_before && !known { *sleeps } else { 0 };
            let seen = self
                .sleeps
                .entry((pid, *thread))
                .or_insert((first, *sleeps));
            seen.1 = *sleeps;
        }
        self.looks.push(Look {
            resident_kib: number(&status, "VmRSS:").context("no VmRSS")?,
            peak_kib: number(&status, "VmHWM:").context("no VmHWM")?,
            threads: count(threads.len()),
            connections: count(connections(pid, self.port)?),
        });
        Ok(())
    }

    /// All looks together.
    pub fn used(&self) -> Used {
        let all = |of: fn(&Look) -> u64| {
            let mut values: Vec<u64> = self.looks.iter().map(of).collect();
            values.sort_unstable();
            let half = values.get(values.len() / 2).copied().unwrap_or_default();
            (half, values.last().copied().unwrap_or_default())
        };
        let (threads, threads_most) = all(|look| look.threads);
        let (connections, connections_most) = all(|look| look.connections);
        let grown = |(first, last): &(u64, u64)| last.saturating_sub(*first);
        let ticks: u64 = self.ticks.values().map(grown).sum();
        Used {
            resident_kib: all(|look| look.resident_kib).0,
            peak_kib: all(|look| look.peak_kib).1,
            threads,
            threads_most,
            connections,
            connections_most,
            wakes: self.sleeps.values().map(grown).sum(),
            // The kernel's clock ticks for programs are hundredths of a second on every machine of ours.
            cpu_millis: ticks * 10,
        }
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read {path}"))
}

/// The number after a name in a file of lines `name: number`.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time of user and system; the name before it stands in parentheses and may hold spaces.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Each thread with how often it slept. One that ends meanwhile is not there.
fn threads(pid: u32) -> Result<Vec<(u32, u64)>> {
    let directory = format!("/proc/{pid}/task");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("failed to list {directory}"))?;
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let thread = entry.file_name().to_string_lossy().parse().ok();
        if let Some(found) = thread.zip(number(&status, "voluntary_ctxt_switches:")) {
            all.push(found);
        }
    }
    Ok(all)
}

/// Connections of a process to a port of loopback.
fn connections(pid: u32, port: u16) -> Result<usize> {
    let directory = format!("/proc/{pid}/fd");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("failed to list {directory}"))?;
    let links = entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    let sockets: BTreeSet<String> = links
        .filter_map(|link| {
            let link = link.to_string_lossy().into_owned();
            let inode = link.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let table = read(&format!("/proc/{pid}/net/tcp"))?;
    let ours = table.lines().skip(1).filter(|line| {
        let mut fields = line.split_whitespace().skip(2);
        let remote = fields.next().and_then(|remote| remote.rsplit_once(':'));
        let remote = remote.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        let established = fields.next() == Some("01");
        let inode = fields.nth(5);
        remote == Some(port) && established && inode.is_some_and(|it| sockets.contains(it))
    });
    Ok(ours.count())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_meter_sees_connections_threads_and_memory_of_a_process() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let mut meter = Meter::new(address.port());
        meter.look(std::process::id())?;
        let before = meter.used();
        assert_eq!(before.connections_most, 0);
        assert!(before.resident_kib > 100 && before.peak_kib >= before.resident_kib);

        let stream = TcpStream::connect(address)?;
        let (mut served, _) = listener.accept()?;
        let thread = std::thread::spawn(move || {
            let mut byte = [0];
            // Sleeps until the other end is closed.
            served.read_exact(&mut byte).ok();
        });
        meter.look(std::process::id())?;
        let used = meter.used();
        assert_eq!(used.connections_most, 1);
        assert!(used.threads_most >= 2, "{used:?}");
        drop(stream);
        assert!(thread.join().is_ok());
        Ok(())
    }

    #[test]
    fn processor_time_follows_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 99";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(number("VmRSS:\t  123 kB\n", "VmRSS:"), Some(123));
    }
}
