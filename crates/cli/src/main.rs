//! The command-line tool of SlimCluster: look at a running cluster from outside, and at the data of a node that is not running.
//!
//! Reading order: [`http`] (one GET), [`view`] (what a node says of its cluster, as text), [`log`] (what a data directory holds).

mod http;
mod log;
mod view;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use http::Url;
use view::ClusterView;

/// Looks at a running cluster, or at the data of a node that is not running.
#[derive(Parser)]
#[command(name = "slimcluster", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says in one line how the cluster is, as one of its nodes sees it.
    Status {
        /// Where that node serves HTTP, such as http://127.0.0.1:8081.
        #[arg(long)]
        url: Url,
    },
    /// Lists the members, as one of them sees them.
    Members {
        /// Where that node serves HTTP, such as http://127.0.0.1:8081.
        #[arg(long)]
        url: Url,
    },
    /// Reads the data directory of a node that is not running; changes nothing.
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Subcommand)]
enum LogCommand {
    /// Prints what the directory holds: identity, term and vote, every record. Exit code 1 on damage, 2 when it cannot be read.
    Inspect {
        /// The data directory.
        directory: PathBuf,
    },
    /// Verifies every record. Exit code 1 on damage, 2 when the directory cannot be read.
    Verify {
        /// The data directory.
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, String> {
    let text = match command {
        Command::Status { url } => ClusterView::fetch(&url)?.status(),
        Command::Members { url } => ClusterView::fetch(&url)?.members_table(),
        Command::Log(LogCommand::Inspect { directory }) => return Ok(log::inspect(&directory)),
        Command::Log(LogCommand::Verify { directory }) => return Ok(log::verify(&directory)),
    };
    // A reader who has gone wants nothing more.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}
