//! `list` shows the targets, `replay TARGET FILE..` judges kept inputs, `seed DIRECTORY` writes the first inputs of every target.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use slimcluster_fuzz_targets::{TARGETS, find, seeds};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["list"] => {
            for target in TARGETS {
                println!("{} {}", target.name, target.input_bytes_max);
            }
            Ok(())
        }
        ["replay", target, files @ ..] => replay(target, files),
        ["seed", directory] => seed(Path::new(directory)),
        _ => Err("usage: list | replay TARGET FILE.. | seed DIRECTORY".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn replay(target: &str, files: &[&str]) -> Result<(), String> {
    let target = find(target).ok_or_else(|| format!("no target is named {target}; `list` shows them"))?;
    for file in files {
        let bytes = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        println!("{}: {file}, {} bytes", target.name, bytes.len());
        (target.run)(&bytes);
    }
    Ok(())
}

fn seed(directory: &Path) -> Result<(), String> {
    for seed in seeds::all() {
        let folder = directory.join(seed.target);
        let file = folder.join(seed.name.replace(' ', "_"));
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &seed.bytes));
        written.map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}
