//! What the parts are told on the command line.

use std::path::Path;

use crate::curves::Curves;

/// The options of a part; each is a name and a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) rounds: usize,
    /// Those parts are measured whose names hold this.
    only: &'a str,
    /// The folder of the peers that run on Node.
    pub(crate) peers: Option<&'a Path>,
    /// The folder that gets the figures, for charts.
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
        let mut words = words.iter();
        while let Some(name) = words.next() {
            let value = *words.next().ok_or_else(|| format!("{name} takes a value"))?;
            match *name {
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

    /// Those of these parts that are wanted.
    ///
    /// # Errors
    ///
    /// If there is none among them.
    pub(crate) fn wanted<'p, T>(&self, parts: &'p [(&'static str, T)]) -> Result<Vec<&'p (&'static str, T)>, String> {
        let wanted: Vec<_> = parts.iter().filter(|(name, _)| name.contains(self.only)).collect();
        if wanted.is_empty() {
            let names: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
            return Err(format!("--only {}: there are {}", self.only, names.join(", ")));
        }
        Ok(wanted)
    }

    /// Keeps figures for charts, if there is a place for them.
    pub(crate) fn keep(&self, curves: &Curves) -> Result<(), String> {
        self.figures.map_or(Ok(()), |folder| curves.write(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = Options::read(&["--rounds", "2", "--only", "room"], 3).expect("they are right");
        assert_eq!(options.rounds, 2);
        let parts = [("members", 1), ("rooms", 2)];
        let wanted = options.wanted(&parts).expect("there is one");
        assert!(wanted.iter().map(|(_, part)| *part).eq([2]));
        assert_eq!(Options::read(&[], 3).expect("none is needed").rounds, 3);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for words in [
            &["--rounds", "0"][..],
            &["--rounds", "many"],
            &["--rounds"],
            &["--what", "1"],
        ] {
            assert!(Options::read(words, 1).is_err(), "{words:?}");
        }
        let options = Options::read(&["--only", "x"], 1).expect("it is right");
        assert!(
            options
                .wanted(&[("a", ()), ("b", ())])
                .expect_err("none")
                .contains("a, b")
        );
    }
}
