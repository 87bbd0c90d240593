//! The demo's nodes: processes of this very executable on free loopback ports, with their data in a temporary directory.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::http::Client;

/// How many nodes there are: one may fail.
const COUNT: usize = 3;
/// How much of each node's log is shown after a failure.
const LAST_LINES: usize = 12;
/// A look at a node that takes longer than this has failed.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// The three nodes. Those that still run are killed when this is dropped, whatever happened.
pub struct Nodes {
    dir: PathBuf,
    nodes: Vec<Node>,
}

impl Nodes {
    /// Three nodes that have yet to be started.
    ///
    /// # Errors
    /// When there is no place for their data, no free port, or no way to start this executable again.
    pub fn new() -> Result<Nodes, String> {
        let unique = RandomState::new().hash_one(std::process::id());
        let dir = std::env::temp_dir().join(format!("slimcluster-demo-{unique:016x}"));
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let executable = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
        let mut ports = Ports { state: unique, given: BTreeSet::new() };
        let mut all = Vec::new();
        for _ in 0..COUNT {
            all.push((ports.next()?, ports.next()?));
        }
        let seeds: Vec<String> = all.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        let (cluster, seeds) = (format!("demo-{unique:016x}"), seeds.join(","));
        let node = |(at, (port, http)): (usize, (u16, u16))| {
            let name = format!("n{}", at + 1);
            let http = SocketAddr::from((Ipv4Addr::LOCALHOST, http));
            let mut arguments: Vec<OsString> = vec!["--data".into(), dir.join(&name).into()];
            let values = [
                ("--name", name.clone()),
                ("--cluster", cluster.clone()),
                ("--nodes", COUNT.to_string()),
                ("--port", port.to_string()),
                ("--http", http.to_string()),
                ("--seeds", seeds.clone()),
            ];
            arguments.extend(values.into_iter().flat_map(|(option, value)| [option.into(), value.into()]));
            let log = dir.join(format!("{name}.log"));
            Node { name, executable: executable.clone(), arguments, http, log, process: None }
        };
        let nodes = all.into_iter().enumerate().map(node).collect();
        Ok(Nodes { dir, nodes })
    }

    /// Where their data and logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// All of them, in the order of their names.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.iter_mut()
    }

    /// The node of that name.
    ///
    /// # Errors
    /// When no node is called so.
    pub fn named(&mut self, name: &str) -> Result<&mut Node, String> {
        self.nodes.iter_mut().find(|node| node.name == name).ok_or_else(|| format!("no node is called {name}"))
    }

    /// Stops all of them as an operator would.
    ///
    /// # Errors
    /// When one takes longer than `patience` or does not end with success.
    pub fn terminate_all(&mut self, patience: Duration) -> Result<(), String> {
        for node in &mut self.nodes {
            node.terminate()?;
        }
        self.nodes.iter_mut().try_for_each(|node| node.ended_well(patience))
    }

    /// Kills whatever still runs.
    pub fn kill_all(&mut self) {
        for node in &mut self.nodes {
            // Nothing is left to do with a process that cannot even be killed.
            let _ = node.kill();
        }
    }

    /// The end of each node's log.
    pub fn last_words(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let log = fs::read_to_string(&node.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
                text += &format!("  {}: {line}\n", node.name);
            }
        }
        text
    }

    /// Lets the processes outlive the demo, and says how to use and how to stop them.
    pub fn leave_running(&mut self) -> String {
        let addrs: Vec<SocketAddr> = self.nodes.iter().map(|node| node.http).collect();
        let pids: Vec<String> =
            self.nodes.iter_mut().filter_map(|node| node.process.take()).map(|p| p.id().to_string()).collect();
        let mut text = String::from("\n");
        for node in &self.nodes {
            text += &format!("  {}  http://{}/cluster\n", node.name, node.http);
        }
        let path = |at: usize, path: &str| addrs.get(at).map(|addr| format!("http://{addr}{path}")).unwrap_or_default();
        text += "\ntry:\n";
        text += &format!("  curl -X POST {}\n", path(0, "/counter/increment"));
        text += &format!("  curl {}\n", path(1, "/counter"));
        text += &format!("  curl {}\n", path(2, "/cluster"));
        text += &format!("\nstop:\n  kill {} && rm -r {}", pids.join(" "), self.dir.display());
        text
    }

    /// Removes data and logs.
    pub fn remove_data(&self) {
        // What stays behind in the temporary directory does no harm.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// One node.
pub struct Node {
    name: String,
    executable: PathBuf,
    arguments: Vec<OsString>,
    http: SocketAddr,
    log: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it serves HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The id of its process; 0 while it does not run.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// Starts its process; also again, with the data of before.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn start(&mut self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{} cannot be started: {error}", self.name);
        let log = File::options().create(true).append(true).open(&self.log).map_err(failed)?;
        let mut command = Command::new(&self.executable);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        // What is set for another cluster must not reach this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SLIMCLUSTER_")) {
            command.env_remove(name);
        }
        self.process = Some(command.spawn().map_err(failed)?);
        Ok(())
    }

    /// Complains if its process has ended by itself.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn check_running(&mut self) -> Result<(), String> {
        match self.process.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => Err(format!("{} ended by itself: {status}", self.name)),
            Some(Err(error)) => Err(format!("{}: {error}", self.name)),
            Some(Ok(None)) => Ok(()),
            None => Err(format!("{} does not run", self.name)),
        }
    }

    /// What it says at `GET /cluster`; none if it does not answer.
    pub fn view(&self) -> Option<serde_json::Value> {
        let answer = Client::new(self.http, LOOK_TIMEOUT).call("GET", "/cluster").ok()?;
        serde_json::from_str(&answer.body).ok()
    }

    /// Kills its process with SIGKILL: no warning, no last write.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<(), String> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let killed = process.kill().and_then(|()| process.wait());
        killed.map(|_| ()).map_err(|error| format!("{} cannot be killed: {error}", self.name))
    }

    fn terminate(&mut self) -> Result<(), String> {
        self.check_running()?;
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let sent = pid.map(|pid| kill_process(pid, Signal::TERM));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(format!("SIGTERM cannot be sent to {}", self.name)),
        }
    }

    fn ended_well(&mut self, patience: Duration) -> Result<(), String> {
        let start = std::time::Instant::now();
        while start.elapsed() < patience {
            match self.process.as_mut().map(Child::try_wait) {
                Some(Ok(Some(status))) if status.success() => {
                    self.process = None;
                    return Ok(());
                }
                Some(Ok(Some(status))) => {
                    return Err(format!("{} did not end well after SIGTERM: {status}", self.name));
                }
                _ => std::thread::sleep(super::LOOK_INTERVAL),
            }
        }
        Err(format!("{} does not end within {} s of SIGTERM", self.name, patience.as_secs()))
    }
}

/// Free ports below the range from which the system serves clients, so that none of their sockets sits on one.
struct Ports {
    state: u64,
    given: BTreeSet<u16>,
}

impl Ports {
    fn next(&mut self) -> Result<u16, String> {
        for _ in 0..1_000 {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let port = 20_000 + ((self.state >> 33) % 12_000) as u16;
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
                && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            if free && self.given.insert(port) {
                return Ok(port);
            }
        }
        Err("no free port was found on 127.0.0.1".to_owned())
    }
}
