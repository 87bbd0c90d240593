//! The command line of the counter, every option of which can come from the environment too.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use slimcluster::{ClusterBuilder, IpTransport, Serialization};
use tracing_subscriber::EnvFilter;

use crate::demo;

/// What `counter` without arguments says before the usage: the shortest way to see something.
const FIRST_STEPS: &str = "\
counter demo            start three nodes here, kill their leader, see that nothing is lost
counter demo --keep     the same, and leave them running for you to try
counter --help          every option of one node
";

/// The port that multicast announcements share on every host, unless another is given.
const MULTICAST_PORT: u16 = 60_000;

/// A start that was refused; so says the contract of the command line.
const REFUSED: u8 = 2;

/// What the command line asks for.
enum Task {
    /// Run one node.
    Serve(Box<Options>),
    /// Show a cluster at work.
    Demo {
        /// Leave it running.
        keep: bool,
    },
}

#[derive(Parser)]
#[command(name = "counter", about = "A counter that several copies of this program keep together", version)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Option<Options>,
}

#[derive(Subcommand)]
enum Command {
    /// Starts three nodes on this host, kills their leader in mid-traffic and checks that nothing is lost.
    Demo {
        /// Leaves the nodes running at the end and prints how to use them.
        #[arg(long)]
        keep: bool,
    },
}

/// The options of one node.
#[derive(Args)]
pub struct Options {
    /// The name of this node; no two of a cluster share one.
    #[arg(long, env = "SLIMCLUSTER_NAME")]
    pub name: String,
    /// The cluster to form or join.
    #[arg(long, value_name = "ID", env = "SLIMCLUSTER_CLUSTER")]
    pub cluster: String,
    /// How many nodes form the cluster.
    #[arg(long, value_name = "COUNT", env = "SLIMCLUSTER_NODES")]
    pub nodes: usize,
    /// The directory of everything that a restart needs.
    #[arg(long, value_name = "DIR", env = "SLIMCLUSTER_DATA")]
    pub data: PathBuf,
    /// The address for the other nodes, UDP and TCP.
    #[arg(long, value_name = "ADDRESS", env = "SLIMCLUSTER_BIND", default_value_t = Ipv4Addr::LOCALHOST.into(), value_parser = ip_addr)]
    pub bind: IpAddr,
    /// The port for the other nodes, UDP and TCP.
    #[arg(long, env = "SLIMCLUSTER_PORT", default_value_t = 60_001)]
    pub port: u16,
    /// The address of the HTTP server.
    #[arg(long, value_name = "ADDRESS:PORT", env = "SLIMCLUSTER_HTTP", default_value = "127.0.0.1:8081", value_parser = http)]
    pub http: SocketAddr,
    /// The host under which the other nodes reach this one, if it is not the bound address.
    #[arg(long, value_name = "HOST", env = "SLIMCLUSTER_ADVERTISE")]
    pub advertise: Option<String>,
    /// Where other nodes may be found; names are resolved again at every try, the own address is harmless.
    #[arg(long, value_name = "HOST:PORT,...", env = "SLIMCLUSTER_SEEDS", value_delimiter = ',')]
    pub seeds: Vec<String>,
    /// A multicast group in which nodes of one network find each other; its port is 60000 unless given.
    #[arg(long, value_name = "GROUP[:PORT]", env = "SLIMCLUSTER_MULTICAST", value_parser = multicast)]
    pub multicast: Option<SocketAddr>,
    /// How messages between the nodes are written.
    #[arg(long, env = "SLIMCLUSTER_SERIALIZATION", default_value = "protobuf", value_parser = serialization())]
    pub serialization: Serialization,
}

impl Options {
    /// What carries the messages between the nodes.
    pub fn transport(&self) -> IpTransport {
        let transport = IpTransport::port(self.port).bind(self.bind.to_string());
        match self.multicast {
            Some(group) => transport.multicast_on(group.ip(), group.port()),
            None => transport,
        }
    }

    /// Tells the other nodes where they reach this one, where that is not the bound address.
    pub fn advertised(&self, builder: ClusterBuilder) -> ClusterBuilder {
        let Some(host) = &self.advertise else { return builder };
        let builder = builder.advertise(host);
        if !self.http.ip().is_unspecified() {
            return builder;
        }
        // A bare IPv6 address needs brackets in front of a port.
        let host = host.parse::<Ipv6Addr>().map_or_else(|_| host.clone(), |ip| format!("[{ip}]"));
        builder.advertise_http(format!("{host}:{}", self.http.port()))
    }
}

/// Does what the command line and the environment ask for: runs one node by `serve`, shows the demo, or explains itself.
pub fn run(serve: impl FnOnce(Options) -> slimcluster::Result<()>) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let configured = std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("SLIMCLUSTER_"));
    if arguments.len() < 2 && !configured {
        eprintln!("{FIRST_STEPS}\n{}", CommandLine::command().render_usage());
        return ExitCode::from(REFUSED);
    }
    match task(arguments) {
        Ok(Task::Demo { keep }) => demo::run(keep),
        Ok(Task::Serve(options)) => {
            let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
            // Colours are for people, not for log collectors.
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(std::io::stdout().is_terminal()).init();
            serve(*options).map_or_else(failed, |()| ExitCode::SUCCESS)
        }
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            println!("{error}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", in_one_line(&error));
            ExitCode::from(REFUSED)
        }
    }
}

/// Says in one line why the node did not start, or why it stopped.
fn failed(error: slimcluster::Error) -> ExitCode {
    eprintln!("{error}");
    match error {
        // Besides the start, only binding the HTTP address does I/O of its own.
        slimcluster::Error::Start(_) | slimcluster::Error::Io(_) => ExitCode::from(REFUSED),
        _ => ExitCode::FAILURE,
    }
}

fn task(arguments: Vec<OsString>) -> Result<Task, clap::Error> {
    let line = CommandLine::try_parse_from(arguments)?;
    let refused = |kind, reason| CommandLine::command().error(kind, reason);
    match line {
        CommandLine { command: Some(Command::Demo { keep }), .. } => Ok(Task::Demo { keep }),
        CommandLine { options: Some(mut options), .. } => {
            // An empty variable in the environment of a container means that nothing is given.
            options.seeds.retain(|seed| !seed.trim().is_empty());
            if options.seeds.is_empty() && options.multicast.is_none() && options.nodes > 1 {
                let reason = "how are the other nodes found? Give --seeds or --multicast (--nodes 1 needs neither)";
                return Err(refused(ErrorKind::MissingRequiredArgument, reason));
            }
            Ok(Task::Serve(Box::new(options)))
        }
        _ => Err(refused(ErrorKind::MissingRequiredArgument, "--name, --cluster, --nodes and --data are needed")),
    }
}

/// Clap explains itself in paragraphs, of which the first says what is wrong.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    first.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// An address with or without the brackets of IPv6.
fn ip_addr(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| "expected an IPv4 or IPv6 address".to_owned())
}

/// Names are not resolved: which of its addresses should be served?
fn http(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8081 or [::1]:8081".to_owned())
}

fn serialization() -> impl TypedValueParser<Value = Serialization> {
    PossibleValuesParser::new(["json", "protobuf"]).map(|name| match name.as_str() {
        "json" => Serialization::Json,
        _ => Serialization::Protobuf,
    })
}

fn multicast(text: &str) -> Result<SocketAddr, String> {
    let group = match text.parse::<SocketAddr>() {
        Ok(group) => group,
        Err(_) => SocketAddr::new(ip_addr(text).map_err(|_| "expected GROUP or GROUP:PORT")?, MULTICAST_PORT),
    };
    if group.ip().is_multicast() { Ok(group) } else { Err(format!("{} is not a multicast address", group.ip())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        match task(std::iter::once("counter").chain(line.split_whitespace()).map(OsString::from).collect()) {
            Ok(Task::Serve(options)) => Ok(*options),
            Ok(Task::Demo { .. }) => Err("a demo".to_owned()),
            Err(error) => Err(in_one_line(&error)),
        }
    }

    const NODE: &str = "--name n1 --cluster c --nodes 3 --data d";

    #[test]
    fn defaults() {
        let options = options(&format!("{NODE} --seeds [::1]:60001,n2:60001")).unwrap();
        assert_eq!((options.bind, options.port), (Ipv4Addr::LOCALHOST.into(), 60_001));
        assert_eq!(options.http, "127.0.0.1:8081".parse().unwrap());
        assert_eq!(options.seeds, ["[::1]:60001", "n2:60001"]);
    }

    #[test]
    fn multicast_groups() {
        for (text, expected) in [
            ("239.1.1.1", "239.1.1.1:60000"),
            ("239.1.1.1:1234", "239.1.1.1:1234"),
            ("ff02::1", "[ff02::1]:60000"),
            ("[ff02::1]", "[ff02::1]:60000"),
            ("[ff02::1]:1234", "[ff02::1]:1234"),
        ] {
            assert_eq!(multicast(text), Ok(expected.parse().unwrap()));
        }
        assert!(multicast("127.0.0.1").is_err());
        assert!(multicast("group").is_err());
    }

    #[test]
    fn what_cannot_work_is_refused_in_one_line() {
        for line in [
            NODE,
            &format!("{NODE} --seeds ,"),
            &format!("{NODE} --seeds a:1 --port 70000"),
            &format!("{NODE} --seeds a:1 --bind nowhere"),
            "--name n1 --seeds a:1",
            "demo --name n1",
            "--unknown",
        ] {
            let reason = options(line).map(|_| ()).unwrap_err();
            assert!(!reason.is_empty() && reason.lines().count() == 1, "{line}: {reason}");
        }
    }

    #[test]
    fn a_refused_http_address_says_what_is_expected() {
        for wrong in ["localhost:8081", "8081", "127.0.0.1", ":8081"] {
            let reason = options(&format!("{NODE} --seeds a:1 --http {wrong}")).map(|_| ()).unwrap_err();
            assert!(reason.contains(wrong) && reason.contains("such as 127.0.0.1:8081"), "{reason}");
        }
    }

    #[test]
    fn the_demo_is_a_word() {
        let task = |line: &[&str]| task(line.iter().map(OsString::from).collect());
        assert!(matches!(task(&["counter", "demo"]), Ok(Task::Demo { keep: false })));
        assert!(matches!(task(&["counter", "demo", "--keep"]), Ok(Task::Demo { keep: true })));
    }
}
