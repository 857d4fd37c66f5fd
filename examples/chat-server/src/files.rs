//! How many connections the system's limit of open files allows.

/// What the store, the log and everything else may open.
const SPARE: u64 = 64;

/// Plain HTTP connections at a time, where there is room for so many.
const HTTP: u64 = 4096;

/// Chat connections at a time, where there is room and nobody said otherwise.
const CHAT: usize = 100_000;

/// More than anybody needs. The kernel has a bound of its own, which is no lower.
const WANTED: u64 = 1 << 20;

/// How many connections there may be at a time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// Chat connections.
    pub(crate) chat: usize,
    /// Connections that speak HTTP, those included that will become chat connections.
    pub(crate) http: usize,
    /// Why there are fewer than by default.
    pub(crate) note: Option<String>,
}

/// Raises the limit of open files as far as it goes, and shares it out.
pub(crate) fn places(wanted: Option<usize>) -> Result<Places, String> {
    let files = rlimit::increase_nofile_limit(WANTED)
        .or_else(|_| rlimit::Resource::NOFILE.get_soft())
        .map_err(|error| format!("the limit of open files can't be read: {error}"))?;
    share(files, wanted)
}

fn share(files: u64, wanted: Option<usize>) -> Result<Places, String> {
    let rest = files.saturating_sub(SPARE);
    let http = (rest / 4).min(HTTP);
    let chat = usize::try_from(rest - http).unwrap_or(usize::MAX);
    let Ok(http) = usize::try_from(http) else {
        return Err("the limit of open files makes no sense".into());
    };
    if http == 0 {
        return Err(format!("{files} open files are too few for a server (ulimit -n)"));
    }
    match wanted {
        Some(wanted) if wanted > chat => Err(format!(
            "--max-connections {wanted} is more than the system allows: {files} open files are enough for {chat} (ulimit -n)"
        )),
        Some(chat) => Ok(Places { chat, http, note: None }),
        None => Ok(Places {
            chat: chat.min(CHAT),
            http,
            note: (chat < CHAT).then(|| {
                format!("at most {chat} connections at a time: the system allows {files} open files (ulimit -n)")
            }),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_shared_out() {
        let places = share(1 << 20, None).unwrap();
        assert_eq!((places.chat, places.http, places.note), (100_000, 4096, None));
        let places = share(1024, None).unwrap();
        assert_eq!((places.chat, places.http), (720, 240));
        assert_eq!(
            places.note.as_deref(),
            Some("at most 720 connections at a time: the system allows 1024 open files (ulimit -n)")
        );
        assert_eq!(share(1024, Some(100)).unwrap().chat, 100);
        assert_eq!(
            share(1024, Some(721)).unwrap_err(),
            "--max-connections 721 is more than the system allows: 1024 open files are enough for 720 (ulimit -n)"
        );
        share(64, None).unwrap_err();
    }
}
