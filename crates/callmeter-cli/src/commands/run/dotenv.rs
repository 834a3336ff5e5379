//! Variables that a program may read from a `.env` file by itself.
//!
//! Loaders of such files let a variable of the environment win. A variable that we set would then hide the one of the
//! file, and a gateway's key would go to the provider. So a variable that stands in a file counts as one that
//! somebody chose: it is not set, and that is told. Whether the program reads the file cannot be known; to miss a row is better
//! than to change where a key goes. Only names are looked at.

use std::collections::BTreeSet;
use std::path::Path;

/// The longest file that is looked at.
const LONGEST: u64 = 1 << 20;

/// The names that stand in `.env` and `.env.*` of a directory and its parents up to the root of its repository.
pub(super) fn names(directory: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let root = directory
        .ancestors()
        .find(|parent| parent.join(".git").exists());
    let last = root.unwrap_or(directory);
    for parent in directory.ancestors() {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_example = name.ends_with(".example")
                || name.ends_with(".sample")
                || name.ends_with(".template");
            if (name == ".env" || name.starts_with(".env.")) && !is_example {
                names.extend(names_in(&entry.path()));
            }
        }
        if parent == last {
            break;
        }
    }
    names
}

fn names_in(path: &Path) -> Vec<String> {
    let is_short =
        std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= LONGEST);
    let text = is_short
        .then(|| std::fs::read_to_string(path).ok())
        .flatten()
        .unwrap_or_default();
    let names = text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        let has_value = !value.trim().trim_matches(['"', '\'']).is_empty();
        has_value.then(|| name.trim().to_owned())
    });
    names.filter(|name| !name.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_up_to_the_root_of_the_repository() {
        let place = tempfile::tempdir().unwrap();
        let service = place.path().join("repository/service");
        std::fs::create_dir_all(place.path().join("repository/.git")).unwrap();
        std::fs::create_dir_all(&service).unwrap();
        let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).unwrap();
        write(".env", "OUTSIDE=1\n");
        write(
            "repository/.env",
            "# A=1\nexport OPENAI_BASE_URL = \"https://gateway/v1\"\nEMPTY=\nQUOTED=''\n",
        );
        write(
            "repository/service/.env.local",
            "OLLAMA_HOST=gpu-1\nno assignment\n",
        );
        write(
            "repository/service/.env.example",
            "CO_API_URL=https://example\n",
        );
        let names: Vec<_> = names(&service).into_iter().collect();
        assert_eq!(names, ["OLLAMA_HOST", "OPENAI_BASE_URL"]);
    }
}
