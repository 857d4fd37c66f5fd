//! What all benchmarks are told on the command line, and how one of several parts is run.

use std::error::Error;
use std::path::Path;

use serde::Serialize;

use crate::curves::Curves;
use crate::grid::Grid;
use crate::kept;
use crate::process::{Cores, raise_open_files};

/// The options; each is a name and a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) rounds: usize,
    /// That is measured whose name holds this.
    only: &'a str,
    /// The folder of the peers that run on Node.
    pub(crate) peers: Option<&'a Path>,
    /// The folder that gets the figures.
    figures: Option<&'a Path>,
}

impl<'a> Options<'a> {
    /// Reads them; without `--rounds` there are so many.
    pub(crate) fn read(words: &[&'a str], rounds: usize) -> Result<Self, String> {
        let mut options = Self {
            rounds,
            only: "",
            peers: None,
            figures: None,
        };
        for pair in words.chunks(2) {
            let [name, value] = *pair else {
                return Err(format!("{} takes a value", pair[0]));
            };
            match name {
                "--rounds" => {
                    let number = value.parse().ok().filter(|number| (1..=100).contains(number));
                    options.rounds = number.ok_or_else(|| format!("--rounds takes 1 to 100, not {value:?}"))?;
                }
                "--only" => options.only = value,
                "--peers" => options.peers = Some(Path::new(value)),
                "--figures" => options.figures = Some(Path::new(value)),
                other => {
                    return Err(format!(
                        "there is no option {other}; allowed are --rounds, --only, --peers and --figures"
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Those of these that are wanted.
    ///
    /// # Errors
    ///
    /// If there is none among them.
    pub(crate) fn wanted<'p, T>(&self, all: &'p [T], name: impl Fn(&T) -> String) -> Result<Vec<&'p T>, String> {
        let wanted: Vec<_> = all.iter().filter(|one| name(one).contains(self.only)).collect();
        if wanted.is_empty() {
            let names: Vec<_> = all.iter().map(name).collect();
            return Err(format!(
                "none has {:?} in its name; there are\n{}",
                self.only,
                names.join("\n")
            ));
        }
        Ok(wanted)
    }

    /// Keeps figures, if there is a place for them.
    pub(crate) fn keep(&self, part: &str, figures: &impl Serialize) -> Result<(), String> {
        self.figures.map_or(Ok(()), |folder| kept::write(folder, part, figures))
    }

    /// Keeps the lines of a part, of which perhaps not all was measured.
    fn keep_curves(&self, part: &str, mut curves: Curves) -> Result<(), String> {
        if let Some(Ok(older)) = self.figures.map(|folder| kept::read(folder, part)) {
            curves.add_older(older);
        }
        if curves.is_empty() {
            return Ok(());
        }
        self.keep(part, &curves)
    }
}

/// Measures one thing: a table for people, and lines for charts.
pub(crate) type Part = fn(&Options<'_>, Cores, &mut Curves) -> Result<Grid, Box<dyn Error>>;

/// Measures those of these parts that are wanted.
pub(crate) fn run(
    name: &str,
    words: &[&str],
    rounds: usize,
    parts: &[(&'static str, Part)],
) -> Result<(), Box<dyn Error>> {
    let options = Options::read(words, rounds)?;
    let cores = Cores::find()?;
    raise_open_files();
    let mut curves = Curves::default();
    for (_, part) in options.wanted(parts, |(name, _)| (*name).to_owned())? {
        println!("{}", part(&options, cores, &mut curves)?);
    }
    Ok(options.keep_curves(name, curves)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused_in_words() {
        let options = Options::read(&["--rounds", "2", "--only", "room", "--figures", "f"], 3).expect("they are right");
        assert_eq!((options.rounds, options.figures), (2, Some(Path::new("f"))));
        let name = |name: &&str| (*name).to_owned();
        assert_eq!(options.wanted(&["members", "rooms"], name), Ok(vec![&"rooms"]));
        assert_eq!(Options::read(&[], 3).expect("none is needed").rounds, 3);
        for wrong in [
            &["--rounds"][..],
            &["--rounds", "0"],
            &["--rounds", "few"],
            &["--fast", "yes"],
        ] {
            let error = Options::read(wrong, 1).expect_err("they are wrong");
            assert!(error.contains(wrong[0]), "{error}");
        }
        let unknown = Options::read(&["--only", "tennis"], 1).expect("it is right");
        let error = unknown.wanted(&["members", "rooms"], name).expect_err("there is none");
        assert!(error.contains("tennis") && error.contains("members\nrooms"), "{error}");
    }
}
