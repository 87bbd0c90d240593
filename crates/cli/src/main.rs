//! The command-line tool of SlimCluster: look at a running cluster from outside.
//!
//! Reading order: [`http`] (one GET), [`view`] (what a node says of its cluster, as text).

mod http;
mod view;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use http::Url;
use view::ClusterView;

/// Looks at a running cluster.
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
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<String, String> {
    match command {
        Command::Status { url } => Ok(ClusterView::fetch(&url)?.status()),
        Command::Members { url } => Ok(ClusterView::fetch(&url)?.members_table()),
    }
}
