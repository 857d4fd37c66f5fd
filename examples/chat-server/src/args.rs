//! What the command line and the environment say.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use roomcast_core::Rate;
use roomcast_ws::Origins;

/// A chat server that keeps every message.
#[derive(Debug, Parser)]
#[command(name = "chat-server", version)]
pub(crate) struct Args {
    /// Where to listen: HOST:PORT
    #[arg(long, env = "CHAT_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR", value_parser = listen)]
    pub(crate) listen: String,

    /// Where messages are kept: sqlite:PATH, mongodb://HOST/DATABASE, or memory (lost when the server stops)
    #[arg(
        long,
        global = true,
        env = "CHAT_STORE",
        hide_env_values = true,
        default_value = "sqlite:chat.db",
        value_name = "STORE"
    )]
    store: String,

    /// The origin of a page that may connect: scheme, host and port, https://… as browsers write it. Several are separated by commas, or the flag is given several times. Without it, pages of this server alone
    #[arg(long = "origin", env = "CHAT_ORIGIN", value_delimiter = ',', value_name = "ORIGIN", value_parser = origin)]
    origins: Vec<String>,

    /// How fast one connection may send, and one user ask over HTTP: PER_SECOND:BURST, or off
    #[arg(long, env = "CHAT_RATE", default_value = "20:40", value_name = "RATE")]
    pub(crate) rate: RateChoice,

    /// Chat connections at a time, in all [default: 100000, or what the system's limit of open files allows]
    #[arg(long, env = "CHAT_MAX_CONNECTIONS", value_name = "N")]
    pub(crate) max_connections: Option<usize>,

    /// How much of each room is kept: a number of entries, an age as 90d, both as 100000,90d, or all
    #[arg(long, env = "CHAT_RETENTION", default_value = "all", value_name = "RETENTION")]
    pub(crate) retention: RetentionChoice,

    /// How servers that share a store hear of each other: nats://HOST:PORT, several with commas between them, tls:// for TLS; or mongodb, by the store mongodb://… itself. Without it, others' messages are seen when somebody joins, and twice a minute, and who is in a room is known of this server alone
    #[arg(long, env = "CHAT_BUS", hide_env_values = true, value_name = "BUS")]
    bus: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Args {
    /// Where messages are kept. Not read by clap, which shows what it can't read, and there may be a password in it.
    pub(crate) fn store(&self) -> Result<StoreChoice, String> {
        self.store.parse().map_err(|error| format!("--store: {error}"))
    }

    /// How servers hear of each other; the same holds for it.
    pub(crate) fn bus(&self) -> Result<Option<BusChoice>, String> {
        let bus = self.bus.as_ref().map(|text| text.parse()).transpose();
        bus.map_err(|error: String| format!("--bus: {error}"))
    }

    /// The origins that were listed; none means pages of this server alone.
    pub(crate) fn origins(&self) -> Vec<String> {
        // An empty entry says nothing: an empty variable, a comma too many.
        let listed = self.origins.iter().map(|origin| origin.trim());
        listed.filter(|origin| !origin.is_empty()).map(str::to_owned).collect()
    }
}

fn listen(text: &str) -> Result<String, String> {
    let wrong = "an address is HOST:PORT, as in 127.0.0.1:8080, [::1]:8080 or localhost:8080";
    let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || (host.contains(':') && !bracketed) || port.parse::<u16>().is_err() {
        return Err(wrong.into());
    }
    Ok(text.to_owned())
}

fn origin(text: &str) -> Result<String, String> {
    if !text.trim().is_empty() {
        Origins::only([text]).map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the messages of an older MongoDB collection into the rooms of --store, and end
    ///
    /// Taken is each document {_id, room_id, content, created_at, user}; `user` is a name or {id, name}. The collection is
    /// only read. What an earlier import has brought in is left alone, so it may be run again.
    Import {
        /// The database that holds the collection: mongodb://HOST/DATABASE
        #[arg(long, value_name = "URI")]
        from: String,

        /// The collection
        #[arg(long, value_name = "NAME", default_value = "messages")]
        collection: String,
    },
}

/// Where messages are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreChoice {
    Memory,
    Sqlite(PathBuf),
    /// An address of MongoDB.
    Mongo(String),
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("mongodb" | "mongodb+srv", rest)) if rest.starts_with("//") => Ok(Self::Mongo(text.to_owned())),
            _ => Err("a store is sqlite:PATH, mongodb://HOST/DATABASE or memory".into()),
        }
    }
}

/// How servers that share a store hear of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BusChoice {
    /// Addresses of NATS.
    Nats(String),
    /// The change streams of the store.
    Mongo,
}

impl FromStr for BusChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None if text == "mongodb" => Ok(Self::Mongo),
            Some(("nats" | "tls", rest)) if !rest.is_empty() => Ok(Self::Nats(text.to_owned())),
            _ => Err("a bus is nats://HOST:PORT, tls://HOST:PORT or mongodb".into()),
        }
    }
}

/// How fast one connection may send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RateChoice(pub(crate) Option<Rate>);

impl FromStr for RateChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let wrong = || "a rate is PER_SECOND:BURST, as in 20:40, both above 0; or off".to_owned();
        let (per_second, burst) = text.split_once(':').ok_or_else(wrong)?;
        let per_second: f64 = per_second.parse().map_err(|_| wrong())?;
        let burst: u32 = burst.parse().map_err(|_| wrong())?;
        if !(per_second > 0.0 && per_second.is_finite() && burst > 0) {
            return Err(wrong());
        }
        Ok(Self(Some(Rate { per_second, burst })))
    }
}

/// How much of each room is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RetentionChoice {
    pub(crate) entries: Option<u64>,
    pub(crate) age: Option<Duration>,
}

impl FromStr for RetentionChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut choice = Self::default();
        if text == "all" {
            return Ok(choice);
        }
        for part in text.split(',') {
            let twice = if let Ok(entries) = part.parse::<u64>() {
                if entries == 0 {
                    return Err("at least 1 entry must be kept".into());
                }
                choice.entries.replace(entries).is_some()
            } else if let Ok(age) = humantime::parse_duration(part) {
                if age.is_zero() {
                    return Err("the age must be above 0".into());
                }
                choice.age.replace(age).is_some()
            } else {
                return Err(format!("{part:?} is neither a number of entries nor an age as 90d"));
            };
            if twice {
                return Err("one number of entries and one age at most".into());
            }
        }
        Ok(choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_read() {
        assert_eq!("memory".parse(), Ok(StoreChoice::Memory));
        assert_eq!("sqlite:a:b.db".parse(), Ok(StoreChoice::Sqlite("a:b.db".into())));
        assert_eq!("mongodb://x/y".parse(), Ok(StoreChoice::Mongo("mongodb://x/y".into())));
        for wrong in ["", "sqlite", "sqlite:", "redis://x", "mongodb", "mongodb:x"] {
            assert!(wrong.parse::<StoreChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn buses_are_read() {
        assert_eq!("mongodb".parse(), Ok(BusChoice::Mongo));
        for good in ["nats://a:4222", "tls://a", "nats://a,nats://b:1"] {
            assert_eq!(good.parse(), Ok(BusChoice::Nats(good.into())));
        }
        for wrong in ["", "nats", "nats://", "a:4222", "redis://x", "mongodb://x/y", "ws://x"] {
            let error = wrong.parse::<BusChoice>().unwrap_err();
            assert!(error.contains("nats://HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_told_to_nobody() {
        let args = Args::try_parse_from([
            "chat-server",
            "--store",
            "mongo://chat:secret@x/y",
            "--bus",
            "nats:/c:secret@x",
        ]);
        let args = args.unwrap();
        let errors = [args.store().unwrap_err(), args.bus().unwrap_err()];
        assert!(errors[0].starts_with("--store: a store is") && errors[1].starts_with("--bus: a bus is"));
        assert!(errors.iter().all(|error| !error.contains("secret")));
    }

    #[test]
    fn addresses_are_read() {
        for good in ["127.0.0.1:8080", "localhost:0", "[::1]:8080", "chat.example:80"] {
            assert_eq!(listen(good).as_deref(), Ok(good));
        }
        for wrong in [
            "",
            "8080",
            ":8080",
            "localhost",
            "localhost:",
            "localhost:http",
            "::1:8080",
            "1.2.3.4:65536",
        ] {
            assert!(listen(wrong).unwrap_err().contains("HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn origins_are_read() {
        let origins = |text: &str| Args::try_parse_from(["chat-server", "--origin", text]).map(|args| args.origins());
        for nothing in ["", ",", " , "] {
            assert_eq!(origins(nothing).unwrap(), [""; 0]);
        }
        assert_eq!(
            origins("https://a.example, http://b:81,").unwrap(),
            ["https://a.example", "http://b:81"]
        );
        for wrong in [
            "*",
            "a.example",
            "https://a.example/chat",
            "https://a.example,b.example",
        ] {
            let error = origins(wrong).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("is no origin"), "{error}");
        }
    }

    #[test]
    fn rates_are_read() {
        assert_eq!("off".parse(), Ok(RateChoice(None)));
        assert_eq!(
            "2.5:4".parse(),
            Ok(RateChoice(Some(Rate {
                per_second: 2.5,
                burst: 4
            })))
        );
        for wrong in ["", "20", "0:1", "1:0", "-1:5", "NaN:1", "inf:1", "1:1:1"] {
            assert!(wrong.parse::<RateChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn retention_is_read() {
        let day = Duration::from_secs(86_400);
        assert_eq!("all".parse(), Ok(RetentionChoice::default()));
        assert_eq!(
            "90d".parse(),
            Ok(RetentionChoice {
                entries: None,
                age: Some(90 * day)
            })
        );
        assert_eq!(
            "7d,1000".parse(),
            Ok(RetentionChoice {
                entries: Some(1000),
                age: Some(7 * day)
            })
        );
        for wrong in ["", "0", "0s", "1,2", "1d,2d", "soon"] {
            assert!(wrong.parse::<RetentionChoice>().is_err(), "{wrong}");
        }
    }
}
