//! The files that the checks read: a map from path to text, from the disk or made up for a test.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// One violation, printed as `path:line: what is wrong and what to do`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the root.
    pub path: String,
    /// Counted from 1; 0 when the finding concerns the file as a whole.
    pub line: usize,
    /// What is wrong, and the remedy.
    pub text: String,
}

impl Finding {
    /// A finding in one line of `path`.
    pub fn at(path: &str, line: usize, text: impl Into<String>) -> Self {
        Finding { path: path.to_owned(), line, text: text.into() }
    }

    /// A finding about `path` as a whole.
    pub fn of(path: &str, text: impl Into<String>) -> Self {
        Finding::at(path, 0, text)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// The text files of the repository, by path relative to its root, with `/` between the parts.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the repository below `root`: its Rust sources, manifests, Markdown pages and CI script.
    ///
    /// # Errors
    /// Any error of the file system, with the path in front.
    pub fn read(root: &Path) -> io::Result<Tree> {
        let mut tree = Tree::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    /// A made-up tree for a test.
    pub fn of(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }

    /// The text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Every file, in the order of the paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Every Rust source, in the order of the paths.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// The folders that hold a package, in the order of the paths.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.files.keys().filter_map(|path| path.strip_suffix("/Cargo.toml"))
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        let with_path = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
        for entry in std::fs::read_dir(folder).map_err(with_path)? {
            let entry = entry.map_err(with_path)?;
            // A name that is not UTF-8 is none of ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            if entry.file_type().map_err(with_path)?.is_dir() {
                if !matches!(name.as_str(), "target" | ".git") {
                    self.read_folder(&entry.path(), &path)?;
                }
            } else if is_checked(&path) {
                let text = std::fs::read_to_string(entry.path()).map_err(with_path)?;
                self.files.insert(path, text);
            }
        }
        Ok(())
    }
}

/// The root of this repository.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

fn is_checked(path: &str) -> bool {
    [".rs", ".md", "Cargo.toml", ".ci/run"].iter().any(|end| path.ends_with(end))
}
